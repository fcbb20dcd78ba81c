//! A fleet for one test: a controller's home, and agents on loopback.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::agent::{Agent, anywhere};
use crate::binaries::binaries;

/// A controller's home and its agents' bundles, in a directory that is removed with it.
pub struct TestFleet {
    directory: tempfile::TempDir,
}

impl Default for TestFleet {
    fn default() -> Self {
        Self::new()
    }
}

impl TestFleet {
    /// Creates a fleet without hosts.
    ///
    /// # Panics
    /// If `lariat init` fails.
    pub fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("lariat-test-").tempdir().expect("a directory");
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(directory.path().join("work"))
            .expect("a directory");
        let fleet = Self { directory };
        fleet.ok(["init"]);
        fleet
    }

    /// A fleet with one host, `web1`, and its running agent.
    pub fn with_agent() -> (Self, Agent) {
        let fleet = Self::new();
        let agent = fleet.agent("web1");
        (fleet, agent)
    }

    /// A fleet with one host, `web1`, which gives its key these rules, and its running agent.
    pub fn with_rules(rules: &str) -> (Self, Agent) {
        let fleet = Self::new();
        fleet.enroll("web1", "127.0.0.1:1");
        fleet.set_rules("web1", rules);
        let agent = fleet.start("web1");
        fleet.set_address("web1", agent.address);
        (fleet, agent)
    }

    /// A path in the test's working directory, outside the controller's home.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join("work").join(name.as_ref())
    }

    /// The controller's home.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The directory with a host's bundle.
    pub fn bundle(&self, host: &str) -> PathBuf {
        self.directory.path().join(format!("{host}.lariat"))
    }

    /// `lariat` with this fleet's home, and without the test's own environment.
    pub fn lariat(&self) -> Command {
        let mut command = Command::new(&binaries().lariat);
        command.env_clear().env("LARIAT_HOME", self.home()).env("HOME", self.directory.path());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir(self.directory.path().join("work")).stdin(Stdio::null());
        command
    }

    /// The label of the fleet's first key.
    ///
    /// # Panics
    /// If it has no key.
    pub fn label(&self) -> String {
        let keys = std::fs::read_dir(self.home().join("keys")).expect("keys");
        let file = keys.flatten().next().expect("a key").path();
        file.file_stem().and_then(OsStr::to_str).expect("a label").to_owned()
    }

    /// [`lariat`](Self::lariat), to be ended by a signal. Where tests run in a shell's background, or under nohup, Ctrl-C or
    /// a hangup is ignored by all that they start.
    ///
    /// # Panics
    /// Never: `lariat` has a current directory.
    pub fn interruptible(&self) -> Command {
        let lariat = self.lariat();
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=INT,HUP,TERM").arg(lariat.get_program());
        command.env_clear().stdin(Stdio::null());
        command.envs(lariat.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(lariat.get_current_dir().expect("it has one"));
        command
    }

    /// Runs `lariat` with these arguments to its end.
    ///
    /// # Panics
    /// If it can't be run, or has panicked.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        let output = self.lariat().args(args).output().expect("lariat can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() != Some(101) && !errors.contains("panicked"), "{errors}");
        output
    }

    /// Runs `lariat`, which must succeed, and returns its stdout.
    ///
    /// # Panics
    /// If it fails.
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `lariat`, which must fail with this exit code and one line, and returns the line.
    ///
    /// # Panics
    /// If it does anything else.
    pub fn fails<A: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = A>) -> String {
        let output = self.run(args);
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
        errors
    }

    /// Enrolls a host and starts its agent on a port that the system picks.
    pub fn agent(&self, host: &str) -> Agent {
        self.agent_by(host, |_| {})
    }

    /// Enrolls a host and starts its agent, after changes to the agent's command.
    pub fn agent_by(&self, host: &str, change: impl FnOnce(&mut Command)) -> Agent {
        self.enroll(host, "127.0.0.1:1");
        let config = self.bundle(host).join("agent.toml");
        let agent = Agent::start_by(config, anywhere(), change);
        self.set_address(host, agent.address);
        agent
    }

    /// Issues a host's bundle.
    pub fn enroll(&self, host: &str, address: &str) {
        let bundle = self.bundle(host);
        self.ok([
            OsStr::new("enroll"),
            host.as_ref(),
            "--address".as_ref(),
            address.as_ref(),
            "--out".as_ref(),
            bundle.as_os_str(),
        ]);
    }

    /// Issues the bundle of a host that dials these gateways, and listens nowhere unless it has an address.
    pub fn enroll_dialling(&self, host: &str, address: Option<&str>, gateways: &[&str]) {
        let bundle = self.bundle(host);
        let mut words = vec![OsStr::new("enroll"), host.as_ref(), "--out".as_ref()];
        words.push(bundle.as_os_str());
        words.extend(address.iter().flat_map(|address| ["--address", address]).map(OsStr::new));
        words.extend(gateways.iter().flat_map(|gateway| ["--dial", gateway]).map(OsStr::new));
        self.ok(words);
    }

    /// Enrolls a host that dials these gateways and listens nowhere, and starts its agent.
    pub fn dialling(&self, host: &str, gateways: &[&str]) -> Agent {
        self.enroll_dialling(host, None, gateways);
        Agent::start_dialling(self.bundle(host).join("agent.toml"))
    }

    /// The label of this controller's key.
    ///
    /// # Panics
    /// If it has none.
    pub fn own_label(&self) -> String {
        let keys = std::fs::read_dir(self.home().join("keys")).expect("a directory");
        let mut keys = keys.flatten().map(|key| key.file_name().to_string_lossy().into_owned());
        let label = keys.find_map(|key| key.strip_suffix(".key").map(ToOwned::to_owned));
        label.expect("a key")
    }

    /// Gives the first key of a host these rules in place of its verbs, and leaves the others as they are.
    ///
    /// # Panics
    /// If the host's keyring has no key with verbs.
    pub fn set_rules_of_first(&self, host: &str, rules: &str) {
        let path = self.bundle(host).join("keyring.toml");
        let text = std::fs::read_to_string(&path).expect("a keyring");
        let start = text.find("\nverbs = ").expect("the key's verbs") + 1;
        let end = text[start..].find("\n[[key]]").map_or(text.len(), |end| start + end);
        let text = format!("{}{rules}{}", &text[..start], &text[end..]);
        std::fs::write(&path, text).expect("it can be written");
    }

    /// Starts the agent of an enrolled host at an address of [`anywhere`].
    pub fn start(&self, host: &str) -> Agent {
        Agent::start(self.bundle(host).join("agent.toml"), anywhere())
    }

    /// Gives the key of a host these rules in place of its verbs. An agent reads them at its start and at SIGHUP.
    ///
    /// # Panics
    /// If the host has no keyring with a single key.
    pub fn set_rules(&self, host: &str, rules: &str) {
        let path = self.bundle(host).join("keyring.toml");
        let text = std::fs::read_to_string(&path).expect("a keyring");
        let start = text.find("\nverbs = ").expect("the key's verbs") + 1;
        std::fs::write(&path, format!("{}{rules}", &text[..start])).expect("it can be written");
    }

    /// Adds a line to a host's table in the inventory.
    ///
    /// # Panics
    /// If the inventory has no such host.
    pub fn add_to_inventory(&self, host: &str, line: &str) {
        let path = self.home().join("hosts.toml");
        let text = std::fs::read_to_string(&path).expect("an inventory");
        let heading = format!("\n[hosts.{host}]\n");
        assert!(text.contains(&heading), "{text}");
        let text = text.replacen(&heading, &format!("{heading}{line}\n"), 1);
        std::fs::write(&path, text).expect("the inventory can be written");
    }

    /// Changes a host's address in the inventory, for instance to that of a proxy.
    ///
    /// # Panics
    /// If the inventory has no such host.
    pub fn set_address(&self, host: &str, address: SocketAddr) {
        let path = self.home().join("hosts.toml");
        let text = std::fs::read_to_string(&path).expect("an inventory");
        let section = text.find(&format!("\n[hosts.{host}]\n")).expect("the host's section");
        let (before, after) = text.split_at(section);
        let start = after.find("address = ").expect("the host's address");
        let end = start + after[start..].find('\n').expect("a line's end");
        let text = format!("{before}{}address = \"{address}\"{}", &after[..start], &after[end..]);
        std::fs::write(&path, text).expect("the inventory can be written");
    }
}
