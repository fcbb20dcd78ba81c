//! Keys of several operators: exported, requested, added, revoked, rotated.

mod add;
mod attacks;
mod fleet;
mod record;
mod revoke;
mod rotate;
mod runbooks;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};

use lariat_testing::fleet::TestFleet;
use lariat_testing::output::{objects, text};
use serde_json::Value;

/// Another operator of a fleet, with a home of their own.
pub(crate) struct Operator<'a> {
    pub(crate) fleet: &'a TestFleet,
    pub(crate) name: &'static str,
    pub(crate) home: PathBuf,
}

impl<'a> Operator<'a> {
    /// Imports the fleet.
    fn new(fleet: &'a TestFleet, name: &'static str) -> Self {
        let operator = Self { fleet, name, home: fleet.path(format!("{name}.home")) };
        let (file, fingerprint) = export(fleet, name);
        let file = file.to_str().unwrap();
        operator.ok(&["fleet", "import", file, "--ca", &fingerprint, "--label", name]);
        operator
    }

    /// Imports the fleet, and is added to all hosts with these rules.
    pub(crate) fn added(fleet: &'a TestFleet, name: &'static str, rules: &[&str]) -> Self {
        let operator = Self::new(fleet, name);
        let request = operator.request(&[]);
        add(fleet, &request, "all", &operator.id(), rules);
        operator
    }

    pub(crate) fn lariat(&self) -> Command {
        let mut command = self.fleet.lariat();
        command.env("LARIAT_HOME", &self.home);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let output = self.lariat().args(args).output().unwrap();
        assert!(!text(&output.stderr).contains("panicked"), "{output:?}");
        output
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).to_owned()
    }

    /// The errors of a command that must fail with lariat's own exit status.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        text(&output.stderr).to_owned()
    }

    /// Writes a request of the key.
    fn request(&self, more: &[&str]) -> PathBuf {
        let path = self.fleet.path(format!("{}.req", self.name));
        let mut command = self.lariat();
        command.args(["key", "request"]).args(more).stdout(File::create(&path).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        path
    }

    /// What `key request` has the owner of a request for all hosts read out.
    fn read_out(&self) -> String {
        let output = self.run(&["key", "request"]);
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr).lines().last().unwrap().trim().to_owned()
    }

    /// The key's id, as `key list` shows it.
    fn id(&self) -> String {
        let keys = objects(&self.ok(&["key", "list", "--json"]));
        let own = keys.iter().find(|key| key["label"] == self.name).unwrap();
        own["id"].as_str().unwrap().to_owned()
    }
}

/// Exports a fleet. Returns the file, and the fingerprint that is read out.
fn export(fleet: &TestFleet, name: &str) -> (PathBuf, String) {
    let file = fleet.path(format!("{name}.fleet"));
    let told = fleet.ok(["fleet", "export", file.to_str().unwrap()]);
    let fingerprint = told.lines().nth(1).unwrap().trim().to_owned();
    (file, fingerprint)
}

fn add(fleet: &TestFleet, request: &std::path::Path, target: &str, id: &str, rules: &[&str]) {
    let words = ["key", "add", request.to_str().unwrap(), target, "--id", id];
    fleet.ok(words.into_iter().chain(rules.iter().copied()));
}

/// The keys of a host.
fn keys(fleet: &TestFleet, host: &str) -> Vec<Value> {
    objects(&fleet.ok(["key", "list", host, "--json"]))
}
