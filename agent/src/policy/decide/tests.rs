use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::name::{JobId, TransferId};
use lariat_wire::protocol::can::Can;
use lariat_wire::protocol::clean::Clean;
use lariat_wire::protocol::exec::{Attach, Resize, Signal};
use lariat_wire::protocol::hypothetical;
use lariat_wire::protocol::job::{Kill, List as ListJobs, Logs, Start};
use lariat_wire::protocol::key::{KeyList, KeyRevoke, KeyRotate};
use lariat_wire::protocol::listen::Take;
use lariat_wire::protocol::metadata::Metadata;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{
    Destination, Identity, Lane, ModeChange, Offer, Push, Sending, Way,
};
use lariat_wire::protocol::tree::{Entry as TreeEntry, PushTree, TreeOptions, What};
use lariat_wire::protocol::verb::Verbs;
use proptest::prelude::*;

use super::*;
use crate::keyring::Keyring;
use crate::policy::Clock;
use crate::policy::networks::Peer;

mod reach;
mod roots;

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// The address of the requests that connect.
static REACHED: [Reached; 1] = [Reached {
    address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), 22),
    is_inner: false,
}];

/// The entry with these lines behind its first five, which has every verb that can be narrowed unless they say
/// otherwise.
fn key(rules: &str) -> Entry {
    let verbs = if rules.contains("verbs") || rules.contains("park") {
        String::new()
    } else {
        let all = Verb::ALL.iter().filter(|verb| !matches!(verb, Verb::Keys | Verb::Upgrade));
        let names: Vec<String> = all.map(|verb| format!("{:?}", verb.as_str())).collect();
        format!("verbs = [{}]\n", names.join(", "))
    };
    let (id, secret) = ("01".repeat(16), "ab".repeat(32));
    let text = format!(
        "[[key]]\nid = \"{id}\"\nlabel = \"x\"\nstored = \"{secret}\"\nagent = \"{secret}\"\n{verbs}{rules}"
    );
    let keyring = Keyring::parse("keyring.toml".as_ref(), &text).unwrap();
    Entry::clone(keyring.entries().next().unwrap())
}

fn run(command: Command) -> Run {
    Run {
        job: JobId([0; 16]),
        command,
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: 0,
    }
}

fn argv(words: &[&str]) -> Run {
    run(Command::Argv(words.iter().map(|word| word.as_bytes().to_vec()).collect()))
}

fn job(run: Run) -> Request {
    Request::Job(JobRequest::Run(run))
}

fn dest(path: &str) -> Destination {
    Destination { path: path.into(), name: b"name".to_vec() }
}

fn push(path: &str) -> Push {
    let (metadata, identity) = (Metadata::default(), Identity::default());
    Push {
        transfer: TransferId([0; 16]),
        dest: dest(path),
        offer: Offer { size: None, sparse: false, metadata, identity, seed: 0 },
        overrides: Overrides::default(),
        preserve: Preserve::default(),
        dry_run: false,
        user: None,
    }
}

fn push_tree(path: &str, options: TreeOptions) -> Request {
    let (metadata, what) = (Metadata::default(), What::Directory);
    Request::File(FileRequest::PushTree(PushTree {
        transfer: TransferId([0; 16]),
        dest: dest(path),
        root: TreeEntry { name: Vec::new(), metadata, what },
        options,
        overrides: Overrides::default(),
        user: None,
    }))
}

fn pull(path: &str, tree: Option<TreeOptions>) -> Request {
    let sending = Sending::default();
    let (transfer, source) = (TransferId([0; 16]), path.into());
    Request::File(FileRequest::Pull(Pull { transfer, source, sending, tree, user: None }))
}

fn connect(to: &str) -> Request {
    hypothetical::connect(to, None).unwrap()
}

fn park(host: &str) -> Request {
    Request::Connect(ConnectRequest::Park(Park { host: host.parse().unwrap() }))
}

fn can(key: Option<&str>) -> Request {
    let key = key.map(ToOwned::to_owned);
    Request::Rule(RuleRequest::Can(Can { key, request: None }))
}

/// One request of each sort, with its name.
fn requests() -> Vec<(&'static str, Request)> {
    let id = JobId([0; 16]);
    let lane = Lane { transfer: TransferId([0; 16]), number: 1, way: Way::Push };
    let size = Resize { rows: 1, columns: 1 };
    let clean = Clean { path: b"/srv/up/x".to_vec(), dry_run: false, user: None };
    let logs = |all_keys| Logs { job: id, from: Start::Beginning, follow: false, all_keys };
    let script = Command::Script { body: b"true".to_vec(), args: Vec::new() };
    let kill = Kill { job: id, signal: Signal { number: 9 }, once: [0; 16], all_keys: false };
    vec![
        ("argv", job(argv(&["id", "-u"]))),
        ("other argv", job(argv(&["id", "-g"]))),
        ("line", job(run(Command::Shell(b"id -u".to_vec())))),
        ("script", job(run(script))),
        ("login", job(run(Command::Login))),
        (
            "terminal",
            job(Run {
                streams: Streams::Terminal { term: b"x".to_vec(), size },
                ..argv(&["id", "-u"])
            }),
        ),
        ("stdin", job(Run { streams: Streams::Followed { stdin: true }, ..argv(&["id", "-u"]) })),
        ("detached", job(Run { streams: Streams::Detached, ..argv(&["id", "-u"]) })),
        ("cwd", job(Run { cwd: Some(b"/".to_vec()), ..argv(&["id", "-u"]) })),
        ("env", job(Run { env: vec![(b"A".to_vec(), Vec::new())], ..argv(&["id", "-u"]) })),
        ("as www", job(Run { user: Some("www".to_owned()), ..argv(&["id", "-u"]) })),
        ("attach", Request::Job(JobRequest::Attach(Attach { job: id, received: None }))),
        (
            "list",
            Request::Job(JobRequest::List(ListJobs { prefix: String::new(), all_keys: false })),
        ),
        ("logs", Request::Job(JobRequest::Logs(logs(false)))),
        ("all logs", Request::Job(JobRequest::Logs(logs(true)))),
        ("kill", Request::Job(JobRequest::Kill(kill))),
        ("push", Request::File(FileRequest::Push(push("/srv/up/x")))),
        ("push out", Request::File(FileRequest::Push(push("/srv/upx")))),
        ("push tree", push_tree("/srv/up", TreeOptions::default())),
        ("pull", pull("/srv/down/x", None)),
        ("pull out", pull("/etc/passwd", None)),
        ("clean", Request::File(FileRequest::Clean(clean))),
        ("lane", Request::File(FileRequest::Lane(lane))),
        ("connect", connect("10.0.0.5:22")),
        ("socket", connect("/run/db")),
        ("parked", connect("host:web3")),
        ("park", park("web3")),
        ("can", can(None)),
        ("can of it", can(Some("x"))),
        ("can of others", can(Some("bob"))),
        ("listen", hypothetical::listen("8080").unwrap()),
        ("take", Request::Connect(ConnectRequest::Take(Take { listener: 1, connection: 1 }))),
    ]
}

fn facts() -> Facts<'static> {
    Facts {
        file: "keyring.toml",
        clock: Clock { now: UNIX_EPOCH + NOW, is_set: true },
        peer: Some(Peer { address: "10.0.0.1".parse().unwrap(), is_own: false }),
        own: "root",
        home: Some(b"/root"),
        program: Some(b"/usr/bin/id"),
        reached: Some(&REACHED),
        own_port: 7433,
    }
}

fn said(key: &Entry, request: &Request, facts: &Facts<'_>) -> String {
    match decide(key, request, facts) {
        Ok(grant) => format!("{}", grant.line),
        Err(denial) => denial.to_string(),
    }
}

/// Which of [`requests`] a key with these rules may make.
fn permitted(rules: &str) -> Vec<&'static str> {
    let key = key(rules);
    let may = |request: &Request| decide(&key, request, &facts()).is_ok();
    requests().iter().filter(|(_, request)| may(request)).map(|(name, _)| *name).collect()
}

/// All names of [`requests`] but these.
fn all_but(names: &[&str]) -> Vec<&'static str> {
    requests().into_iter().map(|(name, _)| name).filter(|name| !names.contains(name)).collect()
}

#[test]
fn every_request_against_every_rule() {
    // What needs the verb `keys`, and what needs none.
    const OTHERS: [&str; 3] = ["all logs", "can of others", "park"];
    const FREE: [&str; 2] = ["can", "can of it"];
    let not_this_command =
        ["other argv", "line", "script", "login", "terminal", "stdin", "cwd", "env"];
    assert_eq!(permitted(""), all_but(&OTHERS));
    assert_eq!(permitted("verbs = []\n"), FREE);
    for (verb, may) in [
        (
            "run",
            &[
                "argv",
                "other argv",
                "line",
                "script",
                "terminal",
                "stdin",
                "detached",
                "cwd",
                "env",
                "as www",
                "attach",
            ][..],
        ),
        ("shell", &["login", "attach"]),
        ("jobs", &["list", "logs", "kill"]),
        ("push", &["push", "push out", "push tree", "clean", "lane"]),
        ("pull", &["pull", "pull out"]),
        ("keys", &["all logs", "can of others"]),
        ("audit", &[]),
        ("connect", &["connect", "socket", "parked"]),
        ("listen", &["listen", "take"]),
        ("status", &[]),
        ("note", &[]),
        ("upgrade", &[]),
    ] {
        let mut permitted = permitted(&format!("verbs = [{verb:?}]\n"));
        permitted.retain(|name| !FREE.contains(name));
        assert_eq!(permitted, may, "{verb}");
    }
    for never in [
        "not_before = 2030-01-01T00:00:00Z\n",
        "not_after = 2020-01-01T00:00:00Z\n",
        "networks = []\n",
        "networks = [\"192.0.2.0/24\"]\n",
    ] {
        assert_eq!(permitted(never), Vec::<&str>::new(), "{never}");
    }
    for always in [
        "not_before = 2020-01-01T00:00:00Z\nnot_after = 2030-01-01T00:00:00Z\n",
        "networks = [\"10.0.0.0/8\"]\n",
        "users = [\"root\", \"www\"]\n",
        "commands = [[\"/usr/bin/id\", \"-..\"]]\nstdin = true\npush = [\"/\"]\npull = [\"/\"]\n",
    ] {
        let commands = if always.contains("commands") {
            &["line", "script", "login", "terminal", "cwd", "env"][..]
        } else {
            &[]
        };
        assert_eq!(permitted(always), all_but(&[commands, &OTHERS].concat()), "{always}");
    }
    // A single user is the default, and the only one.
    assert_eq!(permitted("users = [\"www\"]\n"), all_but(&OTHERS));
    assert_eq!(permitted("users = [\"root\"]\n"), all_but(&[&OTHERS[..], &["as www"]].concat()));
    // A TCP connection has no user.
    let without = [
        "attach",
        "list",
        "logs",
        "kill",
        "lane",
        "connect",
        "parked",
        "can",
        "can of it",
        "listen",
        "take",
    ];
    assert_eq!(permitted("users = []\n"), without);
    assert_eq!(permitted("users = [\"db\", \"www\"]\n"), [&["as www"][..], &without].concat());
    let commands = "commands = [[\"/usr/bin/id\", \"-u\"]]\n";
    let denied = [&not_this_command[..], &OTHERS].concat();
    assert_eq!(permitted(commands), all_but(&denied));
    let with_stdin: Vec<_> = denied.iter().copied().filter(|&name| name != "stdin").collect();
    assert_eq!(permitted(&format!("{commands}stdin = true\n")), all_but(&with_stdin));
    let any = ["argv", "terminal", "stdin", "detached", "cwd", "env", "as www"];
    let no_command = [&any[..], &not_this_command, &OTHERS].concat();
    assert_eq!(permitted("commands = []\n"), all_but(&no_command));
    assert_eq!(
        permitted("push = [\"/srv/up\"]\n"),
        all_but(&[&OTHERS[..], &["push out"]].concat())
    );
    let pushes = ["push", "push out", "push tree", "clean"];
    assert_eq!(permitted("push = []\n"), all_but(&[&pushes[..], &OTHERS].concat()));
    assert_eq!(
        permitted("pull = [\"/srv/down/\"]\n"),
        all_but(&[&OTHERS[..], &["pull out"]].concat())
    );
    assert_eq!(permitted("pull = []\n"), all_but(&[&OTHERS[..], &["pull", "pull out"]].concat()));
}

#[test]
fn the_line_that_decides_is_told() {
    let only_push = key("verbs = [\"push\"]\n");
    let key = key(
        "users = [\"root\", \"www\"]\ncommands = [\n  [\"/usr/bin/id\", \"-u\"],\n  [\"/usr/bin/id\", \"-g\", \"*\", \"x\"],\n]\n\
         push = [\n  \"/srv\",\n  \"/srv/up\",\n]\nnetworks = [\"10.0.0.0/8\"]\n",
    );
    let run = |words: &[&str]| said(&key, &job(argv(words)), &facts());
    assert_eq!(run(&["id", "-u"]), "9");
    assert_eq!(run(&["id", "-g", "a", "x"]), "10");
    assert_eq!(
        run(&["id", "-u", "a"]),
        "commands: nearest is keyring.toml:9, word 3 is one too many"
    );
    assert_eq!(
        run(&["id", "-g", "a", "y"]),
        "commands: nearest is keyring.toml:10, word 4 differs"
    );
    assert_eq!(run(&["id", "-g", "a"]), "commands: nearest is keyring.toml:10, word 4 is missing");
    assert_eq!(run(&["id"]), "commands: nearest is keyring.toml:9, word 2 is missing");
    let other = Facts { program: Some(b"/usr/bin/ls"), ..facts() };
    let ls = job(argv(&["ls"]));
    assert_eq!(said(&key, &ls, &other), "commands: keyring.toml:8 has no /usr/bin/ls");
    let none = Facts { program: None, ..facts() };
    let missing =
        "commands: keyring.toml:8 has no program of this name that only root could have put there";
    assert_eq!(said(&key, &ls, &none), missing);
    let push = |path: &str| said(&key, &Request::File(FileRequest::Push(push(path))), &facts());
    assert_eq!((push("/srv/up/x").as_str(), push("/srv/x").as_str()), ("14", "13"));
    assert_eq!(push("/etc/x"), "push: keyring.toml:12 has no directory above /etc/x");
    for path in ["/srv/../etc/x", "/srv//x", "../x", "/srv/./x"] {
        let why = format!("push: keyring.toml:12 has no paths with '.', '..' or '//': {path}");
        assert_eq!(push(path), why);
    }
    assert_eq!(push("x"), "push: keyring.toml:12 has no directory above /root/x");
    let as_db = job(Run { user: Some("db".to_owned()), ..argv(&["id", "-u"]) });
    assert_eq!(said(&key, &as_db, &facts()), "users: keyring.toml:7 has no db");
    let peer = Some(Peer { address: "11.0.0.1".parse().unwrap(), is_own: false });
    let elsewhere = Facts { peer, ..facts() };
    assert_eq!(said(&key, &ls, &elsewhere), "networks: keyring.toml:16 has not 11.0.0.1");
    let unknown = Facts { peer: None, ..facts() };
    assert_eq!(said(&key, &job(argv(&["id", "-u"])), &unknown), "9");
    assert_eq!(said(&only_push, &ls, &facts()), "verbs: keyring.toml:6 has no run");
}

#[test]
fn a_clock_that_is_not_set_lets_in_only_keys_without_dates() {
    let clock = |now| Clock::new(now, UNIX_EPOCH + NOW);
    let not_set = Facts { clock: clock(SystemTime::UNIX_EPOCH), ..facts() };
    assert!(admit(&key(""), &not_set).is_ok());
    for dates in ["not_before = 1970-01-01T00:00:00Z\n", "not_after = 2090-01-01T00:00:00Z\n"] {
        assert!(admit(&key(dates), &facts()).is_ok());
        let (rule, why) = admit(&key(dates), &not_set).unwrap_err();
        assert_eq!(
            (rule, why.as_str()),
            (Rule::Dates, "this host's clock is not set, and the key has dates")
        );
    }
}

#[test]
fn a_permit_carries_what_was_decided() {
    let key = key("commands = [[\"/usr/bin/id\", \"..\"]]\npush = [\"/srv\"]\n");
    let granted = decide(&key, &job(argv(&["id"])), &facts()).unwrap();
    let program = || Some(Program { path: b"/usr/bin/id".to_vec(), words: vec![b"id".to_vec()] });
    let grant = Grant {
        line: 7,
        root: None,
        program: program(),
        input: false,
        addresses: Vec::new(),
        parked: false,
    };
    assert_eq!(granted, grant);
    let word = argv(&[]);
    let word = job(Run { command: Command::Shell(b"id".to_vec()), ..word });
    assert_eq!(decide(&key, &word, &facts()).unwrap().program, program());
    let granted = decide(&key, &push_tree("/srv/x/", TreeOptions::default()), &facts()).unwrap();
    assert_eq!(granted.root.unwrap().root, "/srv".parse().unwrap());
    let local = Entry::local(5, Verbs::all());
    let granted = decide(&local, &job(argv(&["id"])), &facts()).unwrap();
    assert_eq!(
        granted,
        Grant {
            line: 0,
            root: None,
            program: None,
            input: true,
            addresses: Vec::new(),
            parked: false
        }
    );
}

/// Rules that narrow, some of which permit something.
fn rule() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "users = [\"www\"]\n",
        "users = [\"root\", \"www\"]\n",
        "networks = [\"10.0.0.0/8\"]\n",
        "networks = [\"10.0.0.2/32\"]\n",
        "commands = [[\"/usr/bin/id\", \"-{u,g}\"]]\n",
        "commands = [[\"/usr/bin/id\", \"-..\"]]\nstdin = true\n",
        "push = [\"/srv\"]\n",
        "push = [\"/srv/up/x\"]\n",
        "pull = [\"/\"]\n",
        "pull = []\n",
        "connect = [\"*:22\"]\n",
        "connect = [\"/run/db\"]\n",
        "not_after = 2030-01-01T00:00:00Z\n",
        "not_after = 2000-01-01T00:00:00Z\n",
    ])
}

proptest! {
    /// A rule takes away: with one more, a key may do nothing that it might not do before.
    #[test]
    fn a_rule_never_permits_more(rules in proptest::collection::vec(rule(), 0..5), which in 0_usize..28) {
        let mut names = std::collections::HashSet::new();
        let rules: Vec<&str> =
            rules.into_iter().filter(|rule| names.insert(rule.split(' ').next())).collect();
        let (_, request) = &requests()[which];
        let mut may_before = true;
        for count in 0..=rules.len() {
            let key = key(&rules[..count].concat());
            let may = decide(&key, request, &facts()).is_ok();
            prop_assert!(may_before || !may, "{:?} {request:?}", &rules[..count]);
            may_before = may;
        }
    }
}

#[test]
fn the_keyring_needs_keys_and_replacing_ones_own_key_needs_nothing() {
    let revoke = KeyRevoke { key: "bob".to_owned(), keep_jobs: false, force: false };
    let changes = [KeyRequest::KeyList(KeyList), KeyRequest::KeyRevoke(revoke)];
    let rotate = Request::Key(KeyRequest::KeyRotate(KeyRotate::Finish));
    let may = |rules: &str, request: &Request| decide(&key(rules), request, &facts()).is_ok();
    for request in changes.map(Request::Key) {
        assert!(may("verbs = [\"keys\"]\n", &request));
        assert!(!may("verbs = [\"run\", \"jobs\", \"upgrade\"]\n", &request));
    }
    assert!(may("verbs = []\n", &rotate));
    assert!(!may("verbs = []\nnetworks = []\n", &rotate));
    assert!(!may("verbs = []\nnot_after = 2020-01-01T00:00:00Z\n", &rotate));
}
