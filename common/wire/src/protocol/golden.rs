//! The bytes of each message, so that no change of an encoder or a type goes unnoticed. They are the examples
//! of docs/PROTOCOL.md.

use super::audit::{
    AcceptAudit, AuditAccepted, AuditEnd, AuditFile, AuditHead, AuditStart, ReadAudit,
};
use super::can::{Asked, Can, Permissions, Verdict};
use super::clean::{Clean, Cleaned};
use super::connect::{Connect, ConnectUnix, Connected, Handed, Park, Parked, PipeEnd, PipeTaken};
use super::doctor::{Buffers, Examine, Examined, Finding};
use super::exec::{
    Ack, Attach, Command, End, Exit, Release, Resize, Run, Signal, Started, StdinEnd, StdinTaken,
    Streams,
};
use super::failure::{Action, Cause, Failure, FileKind};
use super::job::{Job, Kill, Killed, List, Listed, Logs, LogsEnd, Reading, Start, State};
use super::key::{
    KeyAdd, KeyAllow, KeyChanged, KeyList, KeyProblem, KeyRevoke, KeyRotate, KeyVerifier, Keyring,
    ListedKey, Rules,
};
use super::listen::{Arrived, Listen, Listening, Take};
use super::metadata::{Metadata, Ownership, Preserve, Time, Xattr};
use super::note::{
    ClearNotes, Note, NoteLeft, NoteList, NoteWritten, Notes, NotesCleared, ReadNotes, WriteNote,
};
use super::pull::Pull;
use super::renewal::{Install, Installed, Renew, SigningRequest};
use super::session::{Finished, Goodbye, Ping, Pong};
use super::status::{
    Disk, HostStatus, LimitUse, MemoryUse, OthersHere, Report, RunningJob, SessionStatus, Status,
    TransferStatus,
};
use super::transfer::{
    Basis, Begun, Complete, Copies, Copy, Destination, Done, Hashes, Have, Identity, Lane,
    ModeChange, Offer, Overrides, Part, Push, Range, Sending, Taken, Way,
};
use super::tree::{
    Answers, Begin, Change, ChangeKind, Changed, Changes, End as TreeEnd, Entries, Entry, Missed,
    PushTree, Root, Rule, Settled, TreeOptions, What,
};
use super::upgrade::{Confirm, SendAgent, Standing, Step, Upgrade, UpgradeState, Upgrading};
use super::verb::Verb;
use super::{Kind, Message};
use crate::codec;
use crate::grown::Grown;
use crate::link::message_frame;
use lariat_base::name::{EnrolmentId, HostName, JobId, KeyId, SessionId, TransferId, UpgradeId};
use lariat_base::secret::Secret;

/// The document with the examples.
const DOCUMENT: &str = include_str!("../../../../docs/PROTOCOL.md");

/// The kinds that had an example, and the bytes that the document lacks.
#[derive(Default)]
struct Seen {
    kinds: Vec<Kind>,
    missing: Vec<String>,
}

fn check<M: Message + std::fmt::Debug>(seen: &mut Seen, message: &M) {
    let frame = message_frame(1, message).unwrap();
    let examples: String = DOCUMENT.chars().filter(|c| !c.is_whitespace()).collect();
    let hex = hex::encode(&frame);
    if !examples.contains(&hex) {
        seen.missing.push(format!("{message:?}:\n{hex}"));
    }
    let again: M = codec::decode(&frame[8..]).unwrap();
    assert_eq!(message_frame(1, &again).unwrap(), frame);
    for len in 8..frame.len() {
        assert!(codec::decode::<M>(&frame[8..len]).is_err(), "{message:?} cut to {len}");
    }
    seen.kinds.push(M::KIND);
}

fn jobs(s: &mut Seen, job: JobId) {
    check(s, &List { prefix: "1d".to_owned(), all_keys: false });
    let state = State::Ended(End::Exited(3));
    let (user, command) = (Some("www".to_owned()), b"make".to_vec());
    let ended = Job {
        job,
        key: KeyId([0xa1; 16]),
        detached: true,
        began_ms: 5,
        ended_ms: Some(6),
        user,
        command,
        state,
    };
    check(s, &Listed { jobs: vec![ended], more: false });
    check(s, &Logs { job, from: Start::Lines(10), follow: true, all_keys: false });
    let offsets = Ack { stdout: 7, stderr: 1 };
    check(s, &Logs { job, from: Start::Offsets(offsets), follow: false, all_keys: true });
    check(s, &Reading { from: offsets });
    check(s, &LogsEnd { upto: offsets, state: State::Died { with_host: true } });
    check(s, &Kill { job, signal: Signal { number: 15 }, once: [0x0c; 16], all_keys: false });
    check(s, &Killed);
}

fn connect(s: &mut Seen) {
    let parked: HostName = "web3".parse().unwrap();
    let address = "10.0.0.3".to_owned();
    check(s, &Connect { parked: None, host: address, port: 7433, bare: true });
    let (only, host) = (Some(parked.clone()), String::new());
    check(s, &Connect { parked: only, host, port: 0, bare: true });
    check(s, &ConnectUnix { path: b"/run/db".to_vec(), user: Some("www".to_owned()) });
    check(s, &Connected { address: "10.0.0.3:7433".to_owned() });
    check(s, &PipeTaken { bytes: 65536 });
    check(s, &PipeEnd);
    check(s, &Park { host: parked });
    check(s, &Parked);
    check(s, &Handed);
    check(s, &Listen { address: "127.0.0.1".to_owned(), port: 8080 });
    check(s, &Listening { listener: 7, address: "127.0.0.1:8080".to_owned() });
    check(s, &Arrived { connection: 3, from: "127.0.0.1:40000".to_owned() });
    check(s, &Take { listener: 7, connection: 3 });
}

fn can(s: &mut Seen) {
    let request = Some(Asked { kind: 0x35, payload: vec![1, 2] });
    check(s, &Can { key: Some("alice".to_owned()), request });
    check(s, &Can { key: None, request: None });
    let (rule, why) = ("commands".to_owned(), "word 2 differs".to_owned());
    check(s, &Verdict { allowed: false, rule, why });
    check(s, &Permissions { lines: vec!["verbs: run".to_owned()] });
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_message_has_the_bytes_of_the_document() {
    let mut seen = Seen::default();
    let s = &mut seen;
    let job = JobId([0x1d; 16]);
    check(s, &Ping { nonce: 7 });
    check(s, &Pong { nonce: 7 });
    check(s, &Goodbye { retry_after_ms: 2000 });
    let audit = AuditHead { chain: [0xc4; 16], seq: 170, hash: [0x5a; 32] };
    check(s, &Finished { audit });
    let argv = Command::Argv(vec![b"ls".to_vec(), b"-l".to_vec()]);
    let env = vec![(b"A".to_vec(), b"1".to_vec())];
    let run = Run {
        job,
        command: argv,
        user: None,
        cwd: Some(b"/".to_vec()),
        env,
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: 30000,
    };
    check(s, &run);
    let command = Command::Shell(b"exit 3".to_vec());
    let (cwd, env, timeout_ms) = (None, vec![], Some(1000));
    let user = Some("www".to_owned());
    let streams = Streams::Followed { stdin: true };
    check(s, &Run { job, command, user, cwd, env, streams, timeout_ms, grace_ms: 0 });
    let script = Command::Script { body: b"ls".to_vec(), args: vec![b"x".to_vec()] };
    check(s, &Run { command: script, timeout_ms: None, user: None, cwd: None, env: vec![], ..run });
    let command = Command::Shell(b"make".to_vec());
    let (user, cwd, env, streams) = (None, None, vec![], Streams::Detached);
    check(s, &Run { job, command, user, cwd, env, streams, timeout_ms: None, grace_ms: 0 });
    let size = Resize { rows: 24, columns: 80 };
    let (user, cwd, env, command) = (None, None, vec![], Command::Login);
    let streams = Streams::Terminal { term: b"xterm".to_vec(), size };
    check(s, &Run { job, command, user, cwd, env, streams, timeout_ms: None, grace_ms: 30000 });
    check(s, &size);
    check(s, &Attach { job, received: Some(Ack { stdout: 7, stderr: 1 }) });
    check(s, &Started { pid: 258 });
    check(s, &Ack { stdout: 7, stderr: 0 });
    check(s, &StdinEnd { len: 9 });
    check(s, &StdinTaken { upto: 9, closed: true });
    check(s, &Signal { number: 2 });
    check(s, &Exit { end: End::Exited(3), stdout: 7, stderr: 0 });
    check(s, &Exit { end: End::TimedOut, stdout: 0, stderr: 0 });
    check(s, &Exit { end: End::Stopped, stdout: 0, stderr: 0 });
    check(s, &Release);
    jobs(s, job);
    can(s);
    connect(s);
    let transfer = TransferId([0x7f; 16]);
    let ctime = Time { secs: 5, nanos: 6 };
    let offer = Offer {
        size: Some(600_000),
        sparse: false,
        metadata: Metadata {
            mode: 0o644,
            mtime: Time { secs: 1, nanos: 2 },
            ..Metadata::default()
        },
        identity: Identity { device: 3, inode: 4, ctime },
        seed: 0x5eed,
    };
    let dest = Destination { path: b"/srv/".to_vec(), name: b"a".to_vec() };
    let overrides = Overrides {
        mode: Some(ModeChange::exactly(0o600)),
        directory_mode: Some(ModeChange::NONE.without(0o022)),
        user: Some("www".to_owned()),
        backup: true,
        ..Default::default()
    };
    let (preserve, user) = (Preserve { special: true, ..Preserve::default() }, None);
    check(
        s,
        &Push { transfer, dest, offer: offer.clone(), overrides, preserve, dry_run: false, user },
    );
    let sending = Sending { compress: true, rate: Some(4096), hash: false };
    let user = Some("www".to_owned());
    check(s, &Pull { transfer, source: b"/srv/a".to_vec(), sending, tree: None, user });
    check(s, &Offer { size: None, ..offer.clone() });
    let metadata = owned(&offer.metadata);
    check(s, &Offer { metadata, ..offer.clone() });
    let chunks = vec![Range { first: 0, count: 1 }];
    check(s, &Have { chunks, begun: Some(Begun { chunk: 1, len: 4096 }), basis: None });
    let basis = Some(Basis { size: 700_000, average_log2: 12, seed: 0x1122_3344_5566_7788 });
    check(s, &Have { chunks: vec![], begun: None, basis });
    check(s, &Copies { copies: vec![Copy { from: 100_000, len: 65_536 }] });
    check(s, &Hashes { first: 1, hashes: vec![[0xb3; 32]] });
    check(s, &Complete { size: 600_000, hash: None });
    check(s, &Complete { size: 600_000, hash: Some([0xb3; 32]) });
    check(s, &Done { changed: true, hash: None });
    check(s, &Done { changed: true, hash: Some([0xb3; 32]) });
    check(s, &Lane { transfer, way: Way::Pull, number: 3 });
    check(s, &Taken { count: 16, last: true });
    check(s, &Part { number: 5 });
    let path = Some(b"/srv/a".to_vec());
    check(s, &Failure { action: Action::Open, path, cause: Cause::Os(13) });

    let rule = "keyring.toml:15".to_owned();
    check(s, &Failure::request(Cause::NotPermitted { verb: Verb::Run, rule }));
    trees(s, &offer);
    keys(s);
    certificates(s);
    upgrade(s, &offer);
    doctor(s);
    status(s, audit);
    check(s, &Failure::request(Cause::NoSuchJob { up_ms: 5 }));
    check(s, &Failure::request(Cause::NotAsUser("www".to_owned())));
    check(s, &Failure::request(Cause::UnknownRequest("0.1.0".to_owned())));
    let (host, since_ms) = ("web3".parse().unwrap(), Some(1500));
    check(s, &Failure::request(Cause::NotParked { host, since_ms }));
    check(s, &ReadAudit { from: AuditStart::Behind { first: 120, offset: 4096 } });
    check(s, &ReadAudit { from: AuditStart::Since(5) });
    check(s, &AuditFile { first: 120, offset: 4096 });
    check(s, &AuditEnd { last: audit });
    check(s, &AcceptAudit { seen: audit });
    check(s, &AuditAccepted);
    assert!(seen.missing.is_empty(), "docs/PROTOCOL.md lacks {}", seen.missing.join("\n"));
    for kind in Kind::ALL {
        let left = !kind.is_bulk() && !kind.is_hello() && !seen.kinds.contains(kind);
        assert!(!left, "{kind:?} has no example");
    }
}

fn keys(s: &mut Seen) {
    let (id, old, revision) = (KeyId([0xa1; 16]), KeyId([0xa0; 16]), [0x4e; 16]);
    let verifier = KeyVerifier { stored: Secret::new([0x57; 32]), agent: Secret::new([0xa9; 32]) };
    let list = |text: &str| Some(vec![text.to_owned()]);
    let rules = Rules {
        verbs: [Verb::Run, Verb::Push].into_iter().collect(),
        users: list("www"),
        networks: list("10.0.0.0/8"),
        not_after: Some(1_900_000_000),
        push: list("/srv"),
        commands: Some(vec![["/usr/bin/id", ".."].map(ToOwned::to_owned).to_vec()]),
        max_jobs: Some(2),
        ..Rules::default()
    };
    check(s, &KeyList);
    check(s, &Keyring { revision, count: 1 });
    check(
        s,
        &ListedKey {
            id,
            label: "bob@laptop".to_owned(),
            owner: old,
            was: vec![old],
            pending: None,
            rules: rules.clone(),
            last_used: Some(1_800_000_000),
        },
    );
    check(
        s,
        &KeyAdd {
            revision,
            enrolment: EnrolmentId([0xe1; 16]),
            id,
            label: "bob@laptop".parse().unwrap(),
            verifier: verifier.clone(),
            rules: Rules::all_but_keys(),
            again: false,
            dry_run: true,
        },
    );
    let key = "bob@laptop".to_owned();
    check(s, &KeyAllow { revision, key: key.clone(), rules, dry_run: false });
    check(s, &KeyRevoke { key: key.clone(), keep_jobs: true, force: false });
    check(s, &KeyRotate::Begin { id, verifier });
    check(s, &KeyRotate::Finish);
    check(s, &KeyChanged { revision, label: key, ids: vec![id, old], changed: true });
    check(s, &Failure::request(Cause::Key(KeyProblem::LockedOut)));
}

fn certificates(s: &mut Seen) {
    check(s, &Renew { new_key: true });
    check(s, &SigningRequest { request: vec![0x30, 0x00], not_after: 1_800_000_000 });
    check(s, &Install { certificate: vec![0x30, 0x00] });
    check(s, &Installed { is_kept: true });
}

fn doctor(s: &mut Seen) {
    check(s, &Examine);
    let buffers = Buffers { receive: 6_291_456, send: 4_194_304 };
    let findings = vec![
        Finding::ok("disk"),
        Finding::warn("unit", "enable it"),
        Finding::bad("clock", "set it"),
    ];
    check(s, &Examined { version: "0.1.0".to_owned(), time_ms: 7, buffers, findings });
}

fn note() -> Note {
    let (key, label, text) = (KeyId([0xa1; 16]), "bob".to_owned(), "hi".to_owned());
    Note { number: 7, time_ms: 5, key, label, text }
}

fn status(s: &mut Seen, audit: AuditHead) {
    let (key, label, since_ms) = (KeyId([0xa1; 16]), || "bob".to_owned(), 5);
    let disk = Disk {
        path: b"/".to_vec(),
        kind: "ext4".to_owned(),
        size: 1 << 30,
        free: 1 << 20,
        files: 1000,
        files_free: 10,
        is_silent: false,
    };
    let limit = LimitUse { name: "jobs".to_owned(), used: 1, total: 64, refusals: 2 };
    let session = SessionStatus {
        session: SessionId([0x5e; 16]),
        key,
        label: label(),
        origin: "10.0.0.7:5".to_owned(),
        since_ms,
        doing: "run".to_owned(),
    };
    let (user, command) = (Some("www".to_owned()), Some(b"make".to_vec()));
    let job = JobId([0x1d; 16]);
    let job = RunningJob { job, key, label: label(), since_ms, is_detached: true, user, command };
    let transfer = TransferStatus {
        key,
        label: label(),
        since_ms,
        is_push: true,
        user: None,
        path: Some(b"/srv".to_vec()),
        total: 9,
        had: 1,
        moved: 3,
    };
    let report = Report {
        version: "0.1.0".to_owned(),
        kernel: "Linux 6.1".to_owned(),
        time_ms: 7,
        up_ms: 6,
        agent_ms: 4,
        processors: 2,
        load: [42, 130, 5],
        memory: MemoryUse { total: 4096, available: 1024, swap: 512, swap_free: 256 },
        certificate_end: 1_800_000_000,
        audit,
        disks: vec![Grown(disk)],
        limits: vec![Grown(limit)],
        sessions: vec![Grown(session.clone())],
        jobs: vec![Grown(job)],
        transfers: vec![Grown(transfer)],
        unlisted: 3,
        notes: vec![Grown(note())],
    };
    check(s, &Status);
    check(s, &HostStatus { report: Grown(report) });
    let notes = vec![Grown(note())];
    check(s, &ReadNotes { unread: true });
    check(s, &NoteList { list: Grown(Notes { notes }) });
    check(s, &WriteNote { text: "hi".to_owned() });
    check(s, &NoteWritten { number: 7 });
    check(s, &ClearNotes { number: Some(7) });
    check(s, &NotesCleared { count: 1 });
    check(s, &NoteLeft { note: Grown(note()) });
    check(s, &OthersHere { others: vec![Grown(session)] });
}

fn upgrade(s: &mut Seen, offer: &Offer) {
    let id = UpgradeId([0x0d; 16]);
    let version = || "0.1.0".to_owned();
    check(s, &Upgrade { id, size: 7, sha256: [0x5a; 32], downgrade: true });
    check(s, &Upgrading { version: version(), step: Step::Send });
    check(s, &Upgrading { version: version(), step: Step::Refused("no".to_owned()) });
    let step = Step::Begun { to: "0.2.0".to_owned(), limit_ms: 60000 };
    check(s, &Upgrading { version: version(), step });
    check(s, &SendAgent { transfer: TransferId([0x7f; 16]), offer: offer.clone() });
    check(s, &Confirm { id });
    check(s, &UpgradeState { version: version(), standing: Standing::Confirmed });
    let standing = Standing::Restored("it ended".to_owned());
    check(s, &UpgradeState { version: version(), standing });
}

fn owned(metadata: &Metadata) -> Metadata {
    let (uid, gid) = (1000, 100);
    let owner = Some(Ownership { uid, gid, user: "bob".to_owned(), group: String::new() });
    let xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"1".to_vec() }];
    Metadata { owner, xattrs, ..metadata.clone() }
}

fn trees(s: &mut Seen, offer: &Offer) {
    let transfer = TransferId([0x7f; 16]);
    let entry = |name: &[u8], what| Entry {
        name: name.to_vec(),
        metadata: Metadata {
            mode: 0o755,
            mtime: Time { secs: 1, nanos: 2 },
            ..Metadata::default()
        },
        what,
    };
    let root = entry(b"", What::Directory);
    let dest = Destination { path: b"/srv/".to_vec(), name: b"a".to_vec() };
    let rules = vec![Rule { include: false, glob: "*.o".to_owned() }];
    let options =
        TreeOptions { rules, delete: true, max_delete: Some(7), ..TreeOptions::default() };
    let overrides = Overrides::default();
    let user = None;
    let push =
        PushTree { transfer, dest, root: root.clone(), options: options.clone(), overrides, user };
    check(s, &push);
    let sending = Sending::default();
    check(
        s,
        &Pull { transfer, source: b"/srv".to_vec(), sending, tree: Some(options), user: None },
    );
    check(s, &Root { entry: root });
    let what = What::File { size: 3, hash: None, linked: false };
    check(s, &Root { entry: entry(b"", what) });
    let file = What::File { size: 3, hash: Some([0xb3; 32]), linked: true };
    let file = entry(b"f", file);
    let entries = vec![
        Entry { metadata: owned(&file.metadata), ..file },
        entry(b"g", What::Directory),
        entry(b"l", What::Link { target: b"f".to_vec() }),
        entry(b"s", What::Same { entry: 1 }),
        entry(b"t", What::Other(FileKind::Socket)),
    ];
    check(s, &Entries { entries, last: true });
    check(s, &Answers { first: 1, answers: vec![1, 0, 0, 0, 0] });
    check(s, &Begin { number: 1, offer: offer.clone() });
    let path = Some(b"a".to_vec());
    let failure = Failure { action: Action::Read, path, cause: Cause::Os(5) };
    check(s, &Missed { number: Some(1), failure });
    check(s, &TreeEnd { whole: true });
    let change = Change { path: b"a".to_vec(), kind: ChangeKind::Delete };
    check(s, &Changes { changes: vec![change] });
    let done = Changed { files: 4, others: 5, deleted: 6 };
    check(s, &Settled { path: Vec::new(), files: 1, bytes: 3, done });
    check(s, &Clean { path: b"/srv".to_vec(), dry_run: true, user: Some("www".to_owned()) });
    check(s, &Cleaned { files: 2, bytes: 600_000 });
}
