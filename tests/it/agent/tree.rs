//! Trees from a controller that sends any names.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;

use lariat_testing::bare_agent::{BareAgent, TRANSFER};
use lariat_testing::wait::block_on;
use lariat_wire::link::{Link, LinkError, message_frame};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{MAX_XATTRS, Metadata, Preserve, Xattr};
use lariat_wire::protocol::transfer::{Destination, Done, Identity, Offer, Overrides, Push};
use lariat_wire::protocol::tree::{
    Changes, End, Entries, Entry, PushTree, Settled, TreeOptions, What,
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

fn entry(name: &[u8], what: What) -> Entry {
    let mtime = Time { secs: 5, nanos: 0 };
    let metadata = Metadata { mode: 0o755, mtime, ..Metadata::default() };
    Entry { name: name.to_vec(), metadata, what }
}

fn push(agent: &BareAgent) -> PushTree {
    let path = agent.directory.path().as_os_str().as_bytes().to_vec();
    let dest = Destination { path, name: b"copy".to_vec() };
    let root = entry(b"", What::Directory);
    PushTree {
        transfer: TRANSFER,
        dest,
        root,
        options: TreeOptions::default(),
        overrides: Overrides::default(),
        user: None,
    }
}

async fn manifest(
    agent: &BareAgent,
    link: &mut Link<TlsStream<TcpStream>>,
    entries: Vec<Entry>,
) -> Result<Settled, LinkError> {
    link.ask(&push(agent)).await?;
    link.send(&Entries { entries, last: true }).await?;
    link.send(&End { whole: true }).await?;
    loop {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        if frame.kind == lariat_wire::protocol::Kind::Settled {
            return link.reader.message();
        }
    }
}

#[test]
fn names_that_lead_out_end_the_session_and_make_nothing() {
    let agent = BareAgent::start();
    let outside = agent.directory.path().join("made");
    let absolute = outside.clone().into_os_string().into_vec();
    block_on(async {
        let long = [b'x'; 256];
        for bad in [&b".."[..], b"../made", &absolute, b"", b".", b"a/b", b"a\0", &long] {
            let mut link = agent.log_in().await;
            let twice = vec![entry(bad, What::Directory)];
            assert!(manifest(&agent, &mut link, twice).await.is_err());
        }
        let mut link = agent.log_in().await;
        let twice = vec![entry(b"a", What::Directory), entry(b"a", What::Directory)];
        assert!(manifest(&agent, &mut link, twice).await.is_err());
    });
    assert!(!outside.exists());
}

#[test]
fn a_link_in_the_way_is_replaced_and_never_followed() {
    let agent = BareAgent::start();
    let (copy, outside) =
        (agent.directory.path().join("copy"), agent.directory.path().join("outside"));
    std::fs::create_dir(&copy).unwrap();
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, copy.join("a")).unwrap();
    let request = message_frame(1, &push(&agent)).unwrap();
    block_on(async {
        let (mut link, _) = agent.log_in_with(&request).await.unwrap();
        let inner = vec![entry(b"inner", What::Directory)];
        for entries in [vec![entry(b"a", What::Directory)], inner, vec![]] {
            link.send(&Entries { entries, last: true }).await.unwrap();
        }
        link.send(&End { whole: true }).await.unwrap();
        while link.next().await.unwrap().unwrap().kind != lariat_wire::protocol::Kind::Settled {}
    });
    assert!(copy.join("a/inner").is_dir() && !copy.join("a").is_symlink());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_file_that_can_t_be_is_refused_and_the_session_goes_on() {
    let agent = BareAgent::start();
    let PushTree { dest, overrides, .. } = push(&agent);
    let (preserve, user) = (Preserve { xattrs: true, ..Preserve::default() }, None);
    let name = b"user.a".to_vec();
    let xattrs = vec![Xattr { name, value: vec![0; MAX_XATTRS] }];
    let metadata = Metadata { xattrs, ..Metadata::default() };
    let offer =
        Offer { size: Some(0), sparse: false, metadata, identity: Identity::default(), seed: 7 };
    let what = What::File { size: 0, hash: None, linked: false };
    let tree = PushTree { root: entry(b"", what), ..push(&agent) };
    block_on(async {
        let mut link = agent.log_in().await;
        let transfer = TRANSFER;
        let push = Push { transfer, dest, offer, overrides, preserve, dry_run: false, user };
        link.ask(&push).await.unwrap();
        let failure = link.expect::<Failure>().await.unwrap();
        assert!(matches!(failure.cause, Cause::BadRequest(_)), "{failure}");
        // A file is no tree's root.
        link.ask(&tree).await.unwrap();
        let failure = link.expect::<Failure>().await.unwrap();
        assert!(matches!(failure.cause, Cause::BadRequest(_)), "{failure}");
        let offer = Offer { metadata: Metadata::default(), ..push.offer.clone() };
        link.ask(&Push { offer, dry_run: true, ..push }).await.unwrap();
        assert_eq!(link.expect::<Changes>().await.unwrap().changes.len(), 1);
        assert!(link.expect::<Done>().await.unwrap().changed);
    });
    assert!(!agent.directory.path().join("copy").exists());
}
