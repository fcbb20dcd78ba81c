//! A host whose directory or file is an attack, chosen by the source's name.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::metadata::{MAX_XATTRS, Metadata, Xattr};
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::{Identity, LiteralHead, Offer};
use lariat_wire::protocol::tree::{Changed, End, Entries, Entry, PackedHead, Root, Settled, What};

use super::AgentLink;

fn entry(name: &[u8], what: What) -> Entry {
    let mtime = Time { secs: 5, nanos: 0 };
    let metadata = Metadata { mode: 0o755, mtime, ..Metadata::default() };
    Entry { name: name.to_vec(), metadata, what }
}

/// A pack with a file that the controller has not asked for.
async fn content(link: &mut AgentLink, seed: u64) -> Result<(), LinkError> {
    let (mode, mtime) = (0o644, Time::default());
    let body = PackedHead { number: 1, mode, mtime, len: 0 }.encode();
    let (len, sum) = (u32::try_from(body.len()).unwrap(), lariat_engine::sum(seed, &body));
    let head = LiteralHead { len, sum, encoding: 0 };
    link.writer.bulk(Kind::Pack, &head.encode(), &body).await
}

/// An offer with invalid metadata, or of a file that was not expected.
fn offer(source: &[u8]) -> Offer {
    let name = b"user.a".to_vec();
    let metadata = match source {
        b"file-bits" => Metadata { mode: 0o10_755, ..Metadata::default() },
        b"file-attributes" => {
            let xattrs = vec![Xattr { name, value: vec![0; MAX_XATTRS] }];
            Metadata { xattrs, ..Metadata::default() }
        }
        _ => Metadata::default(),
    };
    Offer { size: Some(0), sparse: false, metadata, identity: Identity::default(), seed: 7 }
}

pub(super) async fn play(link: &mut AgentLink) -> Result<(), LinkError> {
    let Pull { source, tree, .. } = link.reader.message()?;
    if source.starts_with(b"file") {
        link.send(&offer(&source)).await?;
        while link.next().await?.is_some() {}
        return Ok(());
    }
    if source == b"left-out" {
        return link
            .send(&Settled { path: source, files: 7, bytes: 7, done: Changed::default() })
            .await;
    }
    if source == b"described" {
        let what = What::File { size: 0, hash: None, linked: false };
        return link.send(&Root { entry: entry(b"", what) }).await;
    }
    link.send(&Root { entry: entry(b"", What::Directory) }).await?;
    let directory = |name: &[u8]| vec![entry(name, What::Directory)];
    let entries = match source.as_slice() {
        b"dotdot" => directory(b".."),
        b"up" => directory(b"../made"),
        b"absolute" => directory(b"/tmp/lariat-made"),
        b"empty" => directory(b""),
        b"nul" => directory(b"a\0b"),
        b"long" => directory(&[b'x'; 256]),
        b"twice" => [directory(b"a"), directory(b"a")].concat(),
        b"unasked" | b"data" => Vec::new(),
        b"unasked-name" => directory(b".ssh"),
        other => panic!("no attack {:?}", other.escape_ascii().to_string()),
    };
    link.send(&Entries { entries, last: true }).await?;
    if source == b"unasked" {
        link.send(&Entries { entries: directory(b"more"), last: true }).await?;
    }
    if source == b"data" {
        content(link, tree.map_or(0, |tree| tree.seed)).await?;
    }
    link.send(&End { whole: true }).await?;
    while link.next().await?.is_some() {}
    Ok(())
}
