//! Limits on what one key may use of an agent, so that other keys do not suffer.

use std::future::pending;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use lariat_base::name::JobId;
use lariat_base::secret::Secret;
use lariat_testing::bare_agent::{BareAgent, Setup, TRANSFER};
use lariat_testing::wait::{PATIENCE, block_on, block_on_within, until, until_told};
use lariat_wire::auth::proof::key_id;
use lariat_wire::frame::Header;
use lariat_wire::link::{Link, LinkError, hello_frame, message_frame, read_hello};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::exec::{Command, Exit, Run, Signal, Streams};
use lariat_wire::protocol::failure::{Cause, Failure, Limit};
use lariat_wire::protocol::job::Kill;
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Metadata, Preserve, Xattr};
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::session::Ping;
use lariat_wire::protocol::transfer::{Destination, Overrides, Sending};
use lariat_wire::protocol::tree::{Entries, Entry, MAX_GLOB, PushTree, Rule, TreeOptions, What};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The verbs of an owner.
const ALL: &str = "\"run\", \"push\", \"pull\", \"shell\", \"jobs\", \"keys\"";

/// How long an owner's command may take under any load; without optimisation everything is slower.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

type Session = Link<TlsStream<TcpStream>>;

fn run(job: u8, line: &str, streams: Streams) -> Run {
    Run {
        job: JobId([job; 16]),
        command: Command::Shell(line.into()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams,
        timeout_ms: None,
        grace_ms: 0,
    }
}

fn kill(job: u8) -> Vec<u8> {
    message_frame(
        1,
        &Kill {
            job: JobId([job; 16]),
            signal: Signal { number: 9 },
            once: [job; 16],
            all_keys: false,
        },
    )
    .unwrap()
}

/// The answer to a request that is sent along with the login.
async fn asked(
    agent: &BareAgent,
    key: &Secret,
    request: &[u8],
) -> Result<(Session, Kind), LinkError> {
    let (mut link, _) = agent.log_in_as(key, request).await?;
    let frame = link.next().await?.ok_or(LinkError::Cut)?;
    Ok((link, frame.kind))
}

fn limit(link: &Session) -> Option<Limit> {
    match link.reader.message::<Failure>().unwrap().cause {
        Cause::AtLimit(limit) => Some(limit),
        _ => None,
    }
}

/// Runs a command of an owner to its end, and returns how long that took.
async fn owner_runs(agent: &BareAgent, job: u8) -> Duration {
    let began = Instant::now();
    let request = message_frame(1, &run(job, "true", Streams::Followed { stdin: false })).unwrap();
    let (mut link, kind) = asked(agent, &agent.other_key, &request).await.unwrap();
    assert_eq!(kind, Kind::Started, "{:?}", limit(&link));
    link.expect::<Exit>().await.unwrap();
    began.elapsed()
}

#[test]
fn a_key_has_half_of_the_sessions_and_is_told_so_and_an_owner_gets_in() {
    let config = "[limits]\nsessions = 8\n";
    let agent = BareAgent::with(Setup { config, other_verbs: Some(ALL), ..Setup::default() });
    let ping = message_frame(1, &Ping { nonce: 1 }).unwrap();
    block_on(async {
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let (link, kind) = asked(&agent, &agent.key, &ping).await.unwrap();
            assert_eq!(kind, Kind::Pong);
            sessions.push(link);
        }
        for _ in 0..3 {
            let (link, kind) = asked(&agent, &agent.key, &ping).await.unwrap();
            assert_eq!((kind, limit(&link)), (Kind::Failed, Some(Limit::Sessions)));
        }
        let (_owner, kind) = asked(&agent, &agent.other_key, &ping).await.unwrap();
        assert_eq!(kind, Kind::Pong);
        // A session's place can be taken again once it has ended.
        sessions.pop().unwrap().writer.finish().await.unwrap();
        loop {
            let (_, kind) = asked(&agent, &agent.key, &ping).await.unwrap();
            if kind == Kind::Pong {
                break;
            }
        }
    });
    let log = agent.log().join("\n");
    assert_eq!(log.matches("sent away").count(), 1, "{log}");
}

#[test]
fn a_key_has_half_of_the_jobs_and_one_that_ended_counts_no_more() {
    let config = "[limits]\njobs = 4\n";
    let verbs = "\"run\", \"jobs\"";
    let agent =
        BareAgent::with(Setup { config, verbs, other_verbs: Some(ALL), ..Setup::default() });
    block_on(async {
        let start = async |job: u8| {
            let request = message_frame(1, &run(job, "exec sleep 300", Streams::Detached)).unwrap();
            let (link, kind) = asked(&agent, &agent.key, &request).await.unwrap();
            if kind == Kind::Started { None } else { limit(&link) }
        };
        assert_eq!((start(1).await, start(2).await), (None, None));
        assert_eq!(start(3).await, Some(Limit::Jobs));
        assert_eq!(start(2).await, None, "it is there already");
        owner_runs(&agent, 9).await;
        let request = kill(1);
        let (_, kind) = asked(&agent, &agent.key, &request).await.unwrap();
        assert_eq!(kind, Kind::Killed);
        until_told(async || start(3).await.is_none().then_some(())).await;
        for job in [2, 3] {
            asked(&agent, &agent.key, &kill(job)).await.unwrap();
        }
    });
}

fn id(job: u8) -> String {
    JobId([job; 16]).to_string()
}

/// Whether a job's supervisor runs: it holds a lock on the job's record.
fn is_alive(agent: &BareAgent, job: u8) -> bool {
    let record = std::fs::File::open(agent.job_directory(&id(job)).join("record")).unwrap();
    rustix::fs::flock(&record, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}

#[test]
fn output_that_a_key_keeps_is_bounded_and_the_oldest_goes_first() {
    let config = "[limits]\noutput = \"512K\"\n[jobs]\noutput = \"64K\"\n";
    let verbs = "\"run\", \"jobs\"";
    let agent = BareAgent::with(Setup { config, verbs, ..Setup::default() });
    let kept = |job: u8| agent.find_job(&id(job)).is_some();
    block_on(async {
        let start = async |job: u8, line: &str| {
            let request = message_frame(1, &run(job, line, Streams::Detached)).unwrap();
            let (link, kind) = asked(&agent, &agent.key, &request).await.unwrap();
            if kind == Kind::Started { None } else { limit(&link) }
        };
        // The key may keep 256 KiB, and each running job may come to keep half of that.
        for job in 1..=3 {
            assert_eq!(start(job, "head -c 60000 /dev/zero").await, None);
            until("its supervisor to end", || (!is_alive(&agent, job)).then_some(()));
        }
        assert_eq!(start(4, "exec sleep 300").await, None);
        assert!(!kept(1) && kept(2) && kept(3) && kept(4));
        assert_eq!(start(5, "exec sleep 300").await, None);
        assert!(!kept(2) && !kept(3) && kept(4));
        assert_eq!(start(6, "true").await, Some(Limit::Output));
        for job in [4, 5] {
            asked(&agent, &agent.key, &kill(job)).await.unwrap();
        }
    });
}

#[test]
fn output_that_all_keys_keep_is_bounded_and_an_owner_always_has_room() {
    let config = "[limits]\noutput = \"512K\"\n[jobs]\noutput = \"64K\"\n";
    let (verbs, other_verbs) = ("\"run\", \"jobs\"", Some(ALL));
    let setup = Setup { config, verbs, other_verbs, more_keys: 1, ..Setup::default() };
    let agent = BareAgent::with(setup);
    let (one, another, owner) = (&agent.key, &agent.more_keys[0], &agent.other_key);
    let kept = |job: u8| agent.find_job(&id(job)).is_some();
    block_on(async {
        let start = async |key: &Secret, job: u8, line: &str| {
            let request = message_frame(1, &run(job, line, Streams::Detached)).unwrap();
            let (link, kind) = asked(&agent, key, &request).await.unwrap();
            if kind == Kind::Started { None } else { limit(&link) }
        };
        // 256 KiB are not set aside, and each job that runs may come to keep half of that.
        for (key, job) in [(one, 1), (one, 2), (another, 3)] {
            assert_eq!(start(key, job, "head -c 60000 /dev/zero").await, None);
            until("its supervisor to end", || (!is_alive(&agent, job)).then_some(()));
        }
        assert_eq!(start(another, 4, "exec sleep 300").await, None);
        assert!(kept(1) && kept(2) && !kept(3) && kept(4), "who keeps most gives way");
        assert_eq!(start(one, 5, "exec sleep 300").await, None);
        assert!(!kept(1) && !kept(2) && kept(5));
        assert_eq!(start(one, 6, "true").await, Some(Limit::Output));
        for job in [7, 8] {
            assert_eq!(start(owner, job, "exec sleep 300").await, None);
        }
        for (key, job) in [(another, 4), (one, 5), (owner, 7), (owner, 8)] {
            asked(&agent, key, &kill(job)).await.unwrap();
        }
    });
}

fn entry(name: &[u8], what: What, xattrs: usize) -> Entry {
    let mtime = Time { secs: 5, nanos: 0 };
    let attribute = Xattr { name: b"user.a".to_vec(), value: vec![7; xattrs] };
    let xattrs = if xattrs > 0 { vec![attribute] } else { Vec::new() };
    let metadata = Metadata { mode: 0o755, mtime, xattrs, ..Metadata::default() };
    Entry { name: name.to_vec(), metadata, what }
}

fn push_tree(agent: &BareAgent, name: &str, options: TreeOptions) -> PushTree {
    let path = agent.directory.path().join(name).into_os_string().into_vec();
    let dest = Destination { path, name: b"copy".to_vec() };
    let root = entry(b"", What::Directory, 0);
    PushTree {
        transfer: TRANSFER,
        dest,
        root,
        options,
        overrides: Overrides::default(),
        user: None,
    }
}

/// A request that would compile to hundreds of MiB.
fn bomb(agent: &BareAgent) -> Vec<u8> {
    let rules = vec![Rule { include: false, glob: "*".repeat(MAX_GLOB) }; 900];
    let options = TreeOptions { rules, ..TreeOptions::default() };
    message_frame(1, &push_tree(agent, "bomb", options)).unwrap()
}

/// The messages of an endless manifest of links, each with much metadata.
fn links(count: u32, from: u32) -> Entries {
    let link = |number: u32| {
        let name = format!("{number:08}").into_bytes();
        entry(&name, What::Link { target: vec![b'x'; 4000] }, 50_000)
    };
    Entries { entries: (from..from + count).map(link).collect(), last: false }
}

#[test]
fn rules_that_would_cost_much_are_refused_at_once() {
    let agent = BareAgent::start();
    let request = bomb(&agent);
    block_on(async {
        let before = agent.memory_kib("VmHWM:");
        let began = Instant::now();
        let (link, kind) = asked(&agent, &agent.key, &request).await.unwrap();
        assert_eq!(kind, Kind::Failed);
        let failure = link.reader.message::<Failure>().unwrap().to_string();
        assert!(failure.contains("too many wildcards"), "{failure}");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        let grown = agent.memory_kib("VmHWM:") - before;
        assert!(grown < 32 * 1024, "{grown} KiB");
    });
}

#[test]
fn what_a_manifest_makes_us_keep_counts_and_a_dry_run_keeps_nothing() {
    let agent =
        BareAgent::with(Setup { config: "[limits]\nmemory = \"16M\"\n", ..Setup::default() });
    let preserve = Preserve { xattrs: true, ..Preserve::default() };
    let most = 300;
    block_on(async {
        for (dry_run, told) in [(false, true), (true, false)] {
            let options = TreeOptions { preserve, dry_run, ..TreeOptions::default() };
            let request = message_frame(1, &push_tree(&agent, "tree", options)).unwrap();
            let (mut link, _) = agent.log_in_with(&request).await.unwrap();
            let mut failure = None;
            let mut sent = 0;
            while failure.is_none() && sent < most {
                link.send(&links(10, sent)).await.unwrap();
                sent += 10;
                // Each message is answered before the next one is sent.
                loop {
                    let kind = link.next().await.unwrap().unwrap().kind;
                    if kind == Kind::Failed {
                        failure = Some(limit(&link));
                    }
                    if matches!(kind, Kind::Answers | Kind::Failed) {
                        break;
                    }
                }
            }
            assert_eq!(failure.is_some(), told, "dry run: {dry_run}, {sent}");
            if told {
                assert_eq!(failure, Some(Some(Limit::Memory)));
                assert!(sent > 30, "{sent}: half of the memory is the key's");
            }
        }
    });
    // Twice what is charged, and what an agent needs anyway.
    let peak = agent.memory_kib("VmHWM:");
    assert!(peak < 96 * 1024, "{peak} KiB");
}

#[test]
fn stdin_behind_the_end_of_all_numbers_ends_the_session() {
    let agent = BareAgent::with(Setup { verbs: "\"run\"", ..Setup::default() });
    block_on(async {
        for (job, offset, bytes) in
            [(1, u64::MAX, &b"ab"[..]), (2, u64::MAX - 1, b"abc"), (3, u64::MAX, b"a")]
        {
            let request =
                message_frame(1, &run(job, "cat", Streams::Followed { stdin: true })).unwrap();
            let (mut link, kind) = asked(&agent, &agent.key, &request).await.unwrap();
            assert_eq!(kind, Kind::Started);
            link.writer.bulk(Kind::Stdin, &offset.to_le_bytes(), bytes).await.unwrap();
            while link.next().await.is_ok_and(|frame| frame.is_some()) {}
        }
        let ping = message_frame(1, &Ping { nonce: 1 }).unwrap();
        assert_eq!(asked(&agent, &agent.key, &ping).await.unwrap().1, Kind::Pong);
    });
    let log = agent.log().join("\n");
    assert!(log.contains("its stdin goes on behind the end"), "{log}");
    assert!(!log.contains("should not have happened"), "{log}");
}

#[test]
fn why_a_login_was_denied_is_in_the_log_once_and_not_on_the_wire() {
    let agent = BareAgent::start();
    // A source from which a key has logged in is not penalised for what follows.
    block_on(async { drop(agent.log_in().await) });
    let stranger = Secret::generate().unwrap();
    block_on(async {
        for _ in 0..5 {
            let mut greeted = agent.connect().await.unwrap();
            let (_, login) = agent.answer(&greeted, &stranger);
            greeted.tls.write_all(&hello_frame(Kind::Login, &login)).await.unwrap();
            let denied = read_hello(&mut greeted.tls).await.unwrap();
            assert_eq!(denied, (Kind::Denied, vec![1, 0]));
            greeted.tls.shutdown().await.unwrap();
            let _ = read_hello(&mut greeted.tls).await;
        }
    });
    let line = agent.wait_for("login denied");
    assert!(
        line.contains(&format!("key {}: it is not in the keyring", key_id(&stranger))),
        "{line}"
    );
    assert!(line.contains("WARN"), "{line}");
    block_on(async { drop(agent.log_in().await) });
    agent.wait_for("logged in");
    assert_eq!(agent.log().join("\n").matches("login denied").count(), 1);
}

/// What a hostile key sends along with its login, and what it sends after that without ever reading.
fn attack(agent: &BareAgent, number: usize, manifest: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let preserve = Preserve { xattrs: true, ..Preserve::default() };
    let tree = |dry_run| {
        let options = TreeOptions { preserve, dry_run, ..TreeOptions::default() };
        message_frame(1, &push_tree(agent, &format!("tree{number}"), options)).unwrap()
    };
    let ping = message_frame(1, &Ping { nonce: 1 }).unwrap();
    let only = (0..20_000_u32).map(|n| n.to_le_bytes().map(|b| b | 0x80).to_vec()).collect();
    let options = Some(TreeOptions { only, ..TreeOptions::default() });
    let sending = Sending { compress: false, rate: Some(1), hash: false };
    let pull =
        Pull { transfer: TRANSFER, source: b"/proc".to_vec(), sending, tree: options, user: None };
    match number % 6 {
        0 => (bomb(agent), Vec::new()),
        1 => (tree(false), manifest.to_vec()),
        2 => (tree(true), manifest.to_vec()),
        3 => (ping.repeat(1000), vec![ping.repeat(50_000)]),
        // A message of maximal length that is never completed.
        4 => {
            let header = Header { kind: Kind::Run, request: 1, len: 1024 * 1024 }.encode();
            ([&header[..], &vec![7; 1024 * 1024 - 1]].concat(), Vec::new())
        }
        _ => (message_frame(1, &pull).unwrap(), vec![ping.repeat(1000)]),
    }
}

#[test]
fn whatever_many_hostile_keys_do_at_once_the_agent_lives_and_an_owner_notices_nothing() {
    // The limits of a host with 256 MiB.
    let config = "[limits]\nsessions = 128\njobs = 16\nmemory = \"64M\"\n";
    let verbs = "\"run\", \"push\", \"pull\"";
    let other_verbs = Some(ALL);
    let agent =
        BareAgent::with(Setup { config, verbs, other_verbs, more_keys: 4, ..Setup::default() });
    let manifest: Vec<_> =
        (0..12).map(|part| message_frame(1, &links(10, part * 10)).unwrap()).collect();
    block_on_within(6 * PATIENCE, async {
        let mut held = 0;
        let mut longest = Duration::ZERO;
        for number in 0..96 {
            let key = &agent.more_keys[number % agent.more_keys.len()];
            let (first, then) = attack(&agent, number / 4, &manifest);
            // A connection that is turned away serves as well.
            if let Ok((mut tls, _)) = agent.log_in_raw(key, &first).await {
                held += 1;
                tokio::spawn(async move {
                    for bytes in then {
                        if tls.write_all(&bytes).await.is_err() || tls.flush().await.is_err() {
                            break;
                        }
                    }
                    pending::<()>().await;
                });
            }
            if number % 24 == 0 {
                let job = u8::try_from(100 + number).unwrap();
                longest = longest.max(owner_runs(&agent, job).await);
            }
        }
        for job in 0..24 {
            // Output that no controller reads, of more jobs than are allowed.
            let request =
                message_frame(1, &run(job, "exec yes", Streams::Followed { stdin: false }));
            let key = &agent.more_keys[usize::from(job) % agent.more_keys.len()];
            if let Ok((tls, _)) = agent.log_in_raw(key, &request.unwrap()).await {
                held += 1;
                tokio::spawn(async move {
                    let _tls = tls;
                    pending::<()>().await;
                });
            }
        }
        longest = longest.max(owner_runs(&agent, 99).await);
        assert!(longest < SOON, "{longest:?}");
        assert!(held > 60, "{held}");
        let peak = agent.memory_kib("VmHWM:");
        assert!(peak < 192 * 1024, "{peak} KiB");
    });
    assert!(!agent.log().join("\n").contains("should not have happened"));
}
