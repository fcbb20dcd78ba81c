//! Ends that break the rules: a sender that names what it likes, a receiver that wants what it likes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::chunk::sum::sum;
use lariat_wire::frame::Header;
use lariat_wire::link::message_frame;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{Metadata, Preserve, Xattr};
use lariat_wire::protocol::transfer::{Identity, LiteralHead, Offer};
use lariat_wire::protocol::tree::{
    Answers, Begin, Changed, End, Entries, Missed, PackedHead, Rule, WINDOW, What,
};

fn entry(name: &[u8], what: What) -> Entry {
    let mtime = Time { secs: 5, nanos: 0 };
    let metadata = Metadata { mode: 0o755, mtime, ..Metadata::default() };
    Entry { name: name.to_vec(), metadata, what }
}

fn with_xattr(mut entry: Entry, name: Vec<u8>, value: Vec<u8>) -> Entry {
    entry.metadata.xattrs = vec![Xattr { name, value }];
    entry
}

fn file(name: &[u8]) -> Entry {
    entry(name, What::File { size: 4, hash: None, linked: false })
}

fn link(name: &[u8], target: &str) -> Entry {
    entry(name, What::Link { target: target.as_bytes().to_vec() })
}

fn entries(entries: Vec<Entry>, last: bool) -> Vec<u8> {
    message_frame(1, &Entries { entries, last }).unwrap()
}

fn pack(number: u64, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap();
    let head = PackedHead { number, mode: 0o644, mtime: Time::default(), len };
    let body = [&head.encode()[..], content].concat();
    let len = u32::try_from(body.len()).unwrap();
    let head = LiteralHead { len, sum: sum(0, &body), encoding: 0 };
    let header =
        Header { kind: Kind::Pack, request: 1, len: LiteralHead::LEN + body.len() }.encode();
    [&header[..], &head.encode(), &body].concat()
}

fn end() -> Vec<u8> {
    message_frame(1, &End { whole: true }).unwrap()
}

/// Plays a sender of these frames, which then says no more.
fn receive_into(world: &World, frames: &[Vec<u8>]) -> (Result<Settled, TransferError>, Notes) {
    let arrival = world.arrival(entry(b"", What::Directory));
    let notes = Notes::default();
    let (mut peer, ours) = duplex(1 << 24);
    let done = block_on(async {
        peer.write_all(&frames.concat()).await.unwrap();
        let mut link = Link::new(ours);
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let work = receive_tree(&mut link, arrival, &notes, &never, &mut counts);
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, work).await.expect("it does not wait")
    });
    world.assert_canary();
    (done, notes)
}

#[test]
fn names_that_can_t_be_end_the_connection_and_are_made_nowhere() {
    let outside = b"../outside/made";
    for bad in [&b""[..], b".", b"..", b"/tmp", b"a/b", outside, b"a\0b", &[b'x'; 256]] {
        for what in [What::Directory, What::File { size: 0, hash: None, linked: false }] {
            let world = World::new();
            let frames = [entries(vec![entry(bad, what)], true), pack(1, b""), end()];
            let (done, _) = receive_into(&world, &frames);
            assert!(matches!(done, Err(TransferError::Link(_))), "{done:?}");
            assert_eq!(names(&world.dest("")), [""; 0], "{}", bad.escape_ascii());
        }
    }
}

#[test]
fn manifests_that_can_t_be_end_the_connection() {
    let many = |first: usize| {
        let name = |n| file(format!("{n:08}").as_bytes());
        entries((first..first + 1024).map(name).collect(), false)
    };
    let offer = |size| {
        let metadata = Metadata { mode: 0o600, ..Metadata::default() };
        Offer { size, sparse: false, metadata, identity: Identity::default(), seed: 7 }
    };
    let begin = |number, size| message_frame(1, &Begin { number, offer: offer(size) }).unwrap();
    let failure = Failure::request(Cause::SourceChanged);
    let missed = message_frame(1, &Missed { number: Some(9), failure }).unwrap();
    let long = with_xattr(file(b"a"), vec![b'x'; 300], Vec::new());
    let attacks: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("a name twice", vec![entries(vec![file(b"a"), file(b"a")], true)]),
        (
            "a name twice in two messages",
            vec![entries(vec![file(b"a")], false), entries(vec![file(b"a")], true)],
        ),
        (
            "a link, and a file of its name",
            vec![entries(vec![link(b"a", "../outside"), file(b"a")], true)],
        ),
        ("no order", vec![entries(vec![file(b"b"), file(b"a")], true)]),
        ("a directory too many", vec![entries(vec![], true), entries(vec![file(b"a")], true)]),
        ("entries after the end", vec![entries(vec![], true), end(), entries(vec![], true)]),
        ("an end too early", vec![entries(vec![file(b"a")], false), end()]),
        ("a wanted file left out", vec![entries(vec![file(b"a")], true), end()]),
        ("a file that nobody asked for", vec![pack(1, b"text")]),
        (
            "a directory's content",
            vec![entries(vec![entry(b"a", What::Directory)], true), pack(1, b"x")],
        ),
        ("a file alone that nobody asked for", vec![begin(7, Some(9))]),
        ("something missed that nobody asked for", vec![missed]),
        (
            "a stream that begins and ends before its first byte",
            vec![entries(vec![file(b"a")], true), begin(1, None), end()],
        ),
        ("more than may be unsettled", (0..=WINDOW / 1024).map(|n| many(n * 1024)).collect()),
        ("too long an attribute's name", vec![entries(vec![long], true)]),
        ("a chunk", vec![Header { kind: Kind::Chunk, request: 1, len: 0 }.encode().to_vec()]),
        ("an answer", vec![message_frame(1, &Answers { first: 1, answers: vec![] }).unwrap()]),
    ];
    for (what, frames) in attacks {
        let world = World::new();
        let (done, _) = receive_into(&world, &frames);
        assert!(matches!(done, Err(TransferError::Link(_))), "{what}: {done:?}");
        assert!(names(&world.dest("")).iter().all(|name| name == "a"), "{what}");
    }
}

#[test]
fn what_is_excluded_is_not_taken() {
    let rules = vec![Rule { include: false, glob: ".ssh".to_owned() }];
    let world = World::with(TreeOptions { rules, ..TreeOptions::default() });
    let (done, _) = receive_into(&world, &[entries(vec![entry(b".ssh", What::Directory)], true)]);
    assert!(matches!(done, Err(TransferError::Link(_))), "{done:?}");
    assert_eq!(names(&world.dest("")), [""; 0]);
}

#[test]
fn a_link_that_is_there_or_was_sent_leads_nothing_out() {
    let world = World::new();
    std::fs::create_dir(world.dest("")).unwrap();
    // The link is where the manifest has a directory, then where it has a file.
    symlink("../outside", world.dest("a")).unwrap();
    symlink("../outside/canary", world.dest("b")).unwrap();
    world.file("a/canary", "stolen");
    world.file("b", "stolen");
    symlink("../outside", world.source("c")).unwrap();
    world.copied();
    world.assert_same();
    // A link that the same manifest sent, then a directory of its name in a second one.
    let frames = [entries(vec![link(b"l", "../outside")], true), end()];
    assert!(receive_into(&world, &frames).0.is_ok());
    std::fs::create_dir(world.source("l")).unwrap();
    std::fs::write(world.source("l/canary"), "stolen").unwrap();
    world.copied();
}

#[test]
fn attributes_that_do_not_travel_are_not_set() {
    let preserve = Preserve { xattrs: true, ..Preserve::default() };
    let world = World::with(TreeOptions { preserve, ..TreeOptions::default() });
    let directory = entry(b"a", What::Directory);
    let hostile = with_xattr(directory, b"security.capability".to_vec(), vec![1]);
    let frames = [entries(vec![hostile], true), entries(vec![], true), end()];
    let (done, notes) = receive_into(&world, &frames);
    assert!(done.is_ok(), "{done:?}");
    assert!(notes.missed.borrow()[0].0.contains("set metadata of"), "{:?}", notes.missed);
}

#[test]
fn a_link_to_a_file_that_was_not_sent_is_missed() {
    let world = World::new();
    let frames = [entries(vec![entry(b"a", What::Same { entry: 7 })], true), end()];
    let (done, notes) = receive_into(&world, &frames);
    assert!(done.is_ok() && notes.missed.borrow().len() == 1, "{done:?}");
}

#[test]
fn a_hostile_receiver_gets_nothing_that_was_not_offered() {
    let answers = |first, answers: &[u8]| {
        message_frame(1, &Answers { first, answers: answers.to_vec() }).unwrap()
    };
    let settled = Settled { path: Vec::new(), files: 0, bytes: 0, done: Changed::default() };
    let attacks = [
        ("answers to nothing", answers(1, &[1])),
        ("too many answers", answers(1, &[1; 9])),
        ("the content of a directory", answers(1, &[0, 1])),
        ("an answer that is none", answers(1, &[9, 0])),
        ("an end before the end", message_frame(1, &settled).unwrap()),
        ("entries", entries(vec![], true)),
        ("a chunk", Header { kind: Kind::Chunk, request: 1, len: 0 }.encode().to_vec()),
    ];
    for (what, frame) in attacks {
        let world = World::new();
        world.file("a", "text");
        world.file("b/c", "text");
        let notes = Notes::default();
        let (mut peer, ours) = duplex(1 << 20);
        let done = block_on(async {
            peer.write_all(&frame).await.unwrap();
            let mut link = Link::new(ours);
            let (never, mut counts) = (Cancel::default(), Counts::default());
            let (avoid, how) = (Avoid::new(), Sending::default());
            let work = send_tree(&mut link, world.open(), avoid, how, &notes, &never, &mut counts);
            tokio::time::timeout(std::time::Duration::from_secs(10), work).await
        });
        let done = done.expect("it does not wait");
        assert!(matches!(done, Err(TransferError::Link(_))), "{what}: {done:?}");
    }
}

/// Plays a sender of this manifest, which waits for the answer before it sends the rest.
fn answer_first(
    world: &World,
    manifest: &[u8],
    rest: &[Vec<u8>],
) -> (Result<Settled, TransferError>, Notes) {
    let arrival = world.arrival(entry(b"", What::Directory));
    let notes = Notes::default();
    let (peer, ours) = duplex(1 << 24);
    let done = block_on(async {
        let (mut hears, mut says) = tokio::io::split(peer);
        let mut link = Link::new(ours);
        let (never, mut counts) = (Cancel::default(), Counts::default());
        let work = receive_tree(&mut link, arrival, &notes, &never, &mut counts);
        let play = async {
            says.write_all(manifest).await.unwrap();
            let mut header = [0; 8];
            hears.read_exact(&mut header).await.unwrap();
            let kind = u16::from_le_bytes([header[4], header[5]]);
            assert_eq!(kind, Kind::Answers as u16);
            says.write_all(&rest.concat()).await.unwrap();
        };
        let limit = std::time::Duration::from_secs(20);
        let both = Box::pin(async { tokio::join!(work, play).0 });
        tokio::time::timeout(limit, both).await.expect("it does not wait")
    });
    (done, notes)
}

/// A name that was missed is not linked to: what has it is another file.
#[test]
fn nothing_is_linked_to_a_file_that_did_not_come() {
    let linked = |name: &[u8], size| entry(name, What::File { size, hash: None, linked: true });
    let same = |name: &[u8]| entry(name, What::Same { entry: 1 });
    let missed = |number| {
        let failure = Failure::request(Cause::SourceChanged);
        message_frame(1, &Missed { number: Some(number), failure }).unwrap()
    };
    {
        let world = World::new();
        std::fs::create_dir(world.dest("")).unwrap();
        for name in ["a", "b"] {
            std::fs::write(world.dest(name), format!("old {name}")).unwrap();
        }
        let manifest = entries(vec![linked(b"a", 4), same(b"b"), same(b"c")], true);
        let (done, notes) = answer_first(&world, &manifest, &[missed(1), end()]);
        assert!(done.is_ok(), "{done:?}");
        let missed = notes.missed.borrow().clone();
        assert_eq!(missed.len(), 3, "{missed:?}");
        assert!(missed[1].0.contains("dest/b") && missed[1].0.contains("did not arrive"));
        assert_eq!(std::fs::read(world.dest("a")).unwrap(), b"old a");
        assert_eq!(std::fs::read(world.dest("b")).unwrap(), b"old b");
        assert!(!world.dest("c").exists());
    }
    // One that is there already, and one that comes, are linked to.
    let world = World::new();
    let manifest = entries(vec![linked(b"a", 4), same(b"b")], true);
    assert_eq!(answer_first(&world, &manifest, &[pack(1, b"new1"), end()]).0.unwrap().files, 2);
    assert_eq!(std::fs::read(world.dest("b")).unwrap(), b"new1");
}

/// A pack with a wrong sum ends the transfer before anything of it is written.
#[test]
fn a_pack_that_differs_is_not_written() {
    let mut spoiled = pack(1, b"text");
    *spoiled.last_mut().unwrap() ^= 1;
    let world = World::new();
    let manifest = entries(vec![file(b"a")], true);
    let (done, _) = answer_first(&world, &manifest, &[spoiled, end()]);
    let told = matches!(&done, Err(TransferError::Local(f)) if f.cause == Cause::Mismatch);
    assert!(told && !world.dest("a").exists(), "{done:?}");
}

/// A file alone whose sum is wrong is missed, and what comes behind it is understood.
#[test]
fn a_large_file_that_differs_costs_no_other() {
    use lariat_wire::protocol::transfer::{ChunkHead, Complete};
    let content = vec![7; 200_000];
    let size = content.len() as u64;
    let metadata = Metadata { mode: 0o600, ..Metadata::default() };
    let offer =
        Offer { size: Some(size), sparse: false, metadata, identity: Identity::default(), seed: 7 };
    let head = ChunkHead { index: 0, sum: [9; 16], encoding: 0 };
    let header = Header { kind: Kind::Chunk, request: 1, len: ChunkHead::LEN + content.len() };
    let chunk = [&header.encode()[..], &head.encode(), &content].concat();
    let large = entry(b"large", What::File { size, hash: None, linked: false });
    let manifest = entries(vec![large, file(b"small")], true);
    let frames = [
        message_frame(1, &Begin { number: 1, offer }).unwrap(),
        chunk,
        message_frame(1, &Complete { size, hash: None }).unwrap(),
        pack(2, b"text"),
        end(),
    ];
    let world = World::new();
    let (done, notes) = answer_first(&world, &manifest, &frames);
    assert_eq!(done.unwrap().files, 1);
    assert_eq!(notes.missed.borrow().len(), 1);
    assert_eq!(names(&world.dest("")), ["small"]);
}

#[test]
fn a_file_whose_hash_is_not_the_manifest_s_is_missed_where_files_are_verified() {
    for (verify, content, arrives) in
        [(true, b"good", true), (true, b"evil", false), (false, b"evil", true)]
    {
        let mut world = World::with(TreeOptions { checksum: true, ..TreeOptions::default() });
        world.overrides.verify = verify;
        let hash = Some(blake3::hash(b"good").into());
        let named = entry(b"a", What::File { size: 4, hash, linked: false });
        let manifest = entries(vec![named], true);
        let (done, notes) = answer_first(&world, &manifest, &[pack(1, content), end()]);
        assert_eq!(done.unwrap().files, u64::from(arrives));
        assert_eq!(names(&world.dest("")).len(), usize::from(arrives));
        let missed = notes.missed.borrow();
        assert_eq!(missed.is_empty(), arrives, "{missed:?}");
        assert!(missed.iter().all(|(why, _)| why.contains("verify")), "{missed:?}");
    }
}
