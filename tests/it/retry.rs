//! The connection of each verb is cut at some moment, on a line with 100 ms in each direction: the verb ends
//! as without the cut, and does its work once.
//!
//! `LARIAT_ROUNDS` sets the number of random moments besides the fixed ones, `LARIAT_SEED` repeats a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lariat_testing::agent::Agent;
use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;
use lariat_testing::fleet::TestFleet;
use lariat_testing::output::text;
use lariat_testing::rng::{Rng, number};
use lariat_testing::wait;

/// When connections are cut, in milliseconds after the first was made: during TLS, between the login and its
/// answer, and a little after that.
const MOMENTS: [u64; 3] = [150, 320, 450];

const DELAY: Duration = Duration::from_millis(100);

struct World {
    fleet: TestFleet,
    agent: Agent,
}

/// A separate path to the agent, with the same key.
struct Way<'a> {
    world: &'a World,
    home: PathBuf,
    faulty: Faulty,
    /// The directory for its files.
    directory: PathBuf,
}

impl World {
    fn way(&self, name: &str) -> Way<'_> {
        let fault = Fault { delay: DELAY, ..Fault::default() };
        let faulty = Faulty::start(self.agent.address, fault);
        let (home, directory) = (self.fleet.path(format!("home-{name}")), self.fleet.path(name));
        copy(&self.fleet.home(), &home);
        let path = home.join("hosts.toml");
        let hosts = fs::read_to_string(&path).unwrap();
        let (old, new) = (self.agent.address.to_string(), faulty.address.to_string());
        fs::write(path, hosts.replace(&old, &new)).unwrap();
        fs::create_dir(&directory).unwrap();
        Way { world: self, home, faulty, directory }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

impl Way<'_> {
    /// Runs `lariat`, whose connection is cut this long after it was made.
    fn cut_after(&self, moment: u64, args: &[&str]) -> Output {
        let accepted = self.faulty.accepted();
        let mut lariat = self.world.fleet.lariat();
        lariat.env("LARIAT_HOME", &self.home).args(args).current_dir(&self.directory);
        let child = lariat.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait::until("a connection", || (self.faulty.accepted() > accepted).then_some(()));
        std::thread::park_timeout(Duration::from_millis(moment));
        self.faulty.cut();
        child.wait_with_output().unwrap()
    }

    /// Runs a verb that succeeds, with a cut at `moment`; returns its output.
    fn ok(&self, moment: u64, args: &[&str]) -> String {
        let output = self.cut_after(moment, args);
        assert_eq!(output.status.code(), Some(0), "{args:?} cut after {moment} ms: {output:?}");
        text(&output.stdout).to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// How many lines a command has written into its file.
    fn times(&self, name: &str) -> usize {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default().lines().count()
    }

    /// Starts a detached job that runs until its gate exists; returns its id.
    fn job(&self, line: &str) -> String {
        let told = self.world.fleet.ok(["run", "web1", "--detach", "--", line]);
        told.trim_end().rsplit(' ').next().unwrap().to_owned()
    }
}

/// The number of files below a directory.
fn files(directory: &Path) -> usize {
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { 1 };
    fs::read_dir(directory).unwrap().map(|entry| below(entry.unwrap().path())).sum()
}

type Case = fn(&Way<'_>, u64);

const VERBS: [(&str, Case); 14] = [
    ("ping", |way, at| assert!(way.ok(at, &["ping", "web1"]).contains("connect"))),
    ("pings", |way, at| assert!(way.ok(at, &["ping", "all", "--json"]).contains("true"))),
    ("run", |way, at| {
        let once = format!("run-{at}");
        let line = format!("echo once >> {}; echo out; exit 7", way.path(&once));
        let output = way.cut_after(at, &["run", "web1", "--", &line]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "out\n"), "{output:?}");
        assert_eq!(way.times(&once), 1);
    }),
    ("runs", |way, at| {
        let once = format!("runs-{at}");
        let line = format!("echo once >> {}; echo out", way.path(&once));
        assert_eq!(way.ok(at, &["run", "all", "--", &line]), "web1: out\n");
        assert_eq!(way.times(&once), 1);
    }),
    ("rsh", |way, at| {
        let once = format!("rsh-{at}");
        let line = format!("echo once >> {}; echo out", way.path(&once));
        assert_eq!(way.ok(at, &["rsh", "web1", &line]), "out\n");
        assert_eq!(way.times(&once), 1);
    }),
    ("detach", |way, at| {
        let once = format!("detach-{at}");
        let line = format!("echo once >> {}", way.path(&once));
        assert!(way.ok(at, &["run", "web1", "--detach", "--", &line]).contains("started job"));
        wait::until("it to run", || (way.times(&once) > 0).then_some(()));
        assert_eq!(way.times(&once), 1);
    }),
    ("push", |way, at| {
        let (source, there) = (way.path("source"), way.path(&format!("there-{at}")));
        random_file(Path::new(&source), 1_000_000, 3);
        way.ok(at, &["push", &source, &format!("web1:{there}")]);
        assert!(fs::read(source).unwrap() == fs::read(there).unwrap());
    }),
    ("pull", |way, at| {
        let (source, here) = (way.path("source"), way.path(&format!("here-{at}")));
        random_file(Path::new(&source), 1_000_000, 3);
        way.ok(at, &["pull", &format!("web1:{source}"), &here]);
        assert!(fs::read(source).unwrap() == fs::read(here).unwrap());
    }),
    ("tree", |way, at| {
        let (source, there) = (way.path(&format!("tree-{at}")), way.path(&format!("to-{at}")));
        fs::create_dir(&source).unwrap();
        (0..20).for_each(|n| fs::write(format!("{source}/{n}"), n.to_string()).unwrap());
        way.ok(at, &["push", &format!("{source}/."), &format!("web1:{there}/")]);
        assert_eq!(files(Path::new(&there)), 20);
    }),
    ("jobs", |way, at| {
        let job = way.job("sleep 1000");
        assert!(way.ok(at, &["jobs", "web1", &job, "--json"]).contains("running"));
        way.world.fleet.ok(["kill", "web1", &job, "-s", "KILL"]);
    }),
    ("logs", |way, at| {
        let job = way.job("echo out");
        assert_eq!(way.ok(at, &["logs", "web1", &job, "-f"]), "out\n");
    }),
    ("attach", |way, at| {
        let job = way.job("echo out; exit 5");
        let output = way.cut_after(at, &["attach", "web1", &job]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(5), "out\n"), "{output:?}");
    }),
    ("kill", |way, at| {
        let (came, ready) = (format!("came-{at}"), format!("ready-{at}"));
        let line = format!(
            "trap 'echo came >> {}' USR1; echo ready > {}; while :; do sleep 0.02; done",
            way.path(&came),
            way.path(&ready)
        );
        let job = way.job(&line);
        wait::until("it to listen", || (way.times(&ready) > 0).then_some(()));
        assert!(way.ok(at, &["kill", "web1", &job, "-s", "USR1"]).contains("SIGUSR1"));
        wait::until("the signal", || (way.times(&came) > 0).then_some(()));
        way.world.fleet.ok(["kill", "web1", &job, "-s", "KILL"]);
        assert_eq!(way.times(&came), 1);
    }),
    ("batch", |way, at| {
        let once = format!("batch-{at}");
        let (source, there) = (way.path("file"), way.path(&format!("file-{at}")));
        fs::write(&source, "file").unwrap();
        let plan = format!(
            "[[step]]\npush = \"{source}\"\ndest = \"{there}\"\n\
             [[step]]\nrun = \"echo once >> {}; cat {there}\"\n",
            way.path(&once)
        );
        fs::write(way.directory.join("plan.toml"), plan).unwrap();
        assert_eq!(way.ok(at, &["batch", "plan.toml", "all"]), "web1: file\n");
        assert_eq!(way.times(&once), 1);
    }),
];

#[test]
fn a_cut_at_any_moment_changes_nothing() {
    let (fleet, agent) = TestFleet::with_agent();
    let world = World { fleet, agent };
    let mut rng = Rng::new();
    let rounds = number("LARIAT_ROUNDS").unwrap_or(0);
    let mut moments = MOMENTS.to_vec();
    while moments.len() < MOMENTS.len() + usize::try_from(rounds).unwrap() {
        let moment = rng.below(1000);
        if !moments.contains(&moment) {
            moments.push(moment);
        }
    }
    std::thread::scope(|scope| {
        let cases = VERBS.map(|(name, case)| {
            let (world, moments) = (&world, &moments);
            let all = move || {
                let way = world.way(name);
                moments.iter().for_each(|&moment| case(&way, moment));
            };
            (name, scope.spawn(all))
        });
        for (name, case) in cases {
            assert!(case.join().is_ok(), "{name}: LARIAT_SEED={}", rng.seed());
        }
    });
}

/// Nothing has been requested yet when the very first connection breaks, whatever breaks it.
#[test]
fn a_first_connection_that_is_cut_in_its_handshake_is_made_again() {
    let (fleet, agent) = TestFleet::with_agent();
    let faulty = Faulty::start(agent.address, Fault::default());
    fleet.set_address("web1", faulty.address);
    let file = fleet.path("file");
    random_file(&file, 100_000, 1);
    let dest = format!("web1:{}", fleet.path("there").display());
    for args in [&["ping", "web1"][..], &["jobs", "web1"], &["push", file.to_str().unwrap(), &dest]]
    {
        for (cut_up, cut_down) in
            [(Some(0), None), (Some(200), None), (None, Some(0)), (None, Some(900))]
        {
            faulty.set(Fault { cut_up, cut_down, ..Fault::default() });
            let accepted = faulty.accepted();
            let child =
                fleet.lariat().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            wait::until("another attempt", || (faulty.accepted() > accepted + 1).then_some(()));
            faulty.set(Fault::default());
            let output = child.unwrap().wait_with_output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
        }
    }
}

/// A host at whose address nothing listens may never have existed: that is reported at once.
#[test]
fn a_host_that_is_not_there_is_told_of_at_once() {
    let (fleet, _agent) = TestFleet::with_agent();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fleet.set_address("web1", closed);
    let began = std::time::Instant::now();
    for args in [&["ping", "web1"][..], &["jobs", "web1"], &["run", "web1", "--", "true"]] {
        assert!(fleet.fails(255, args).contains("connection refused"));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}
