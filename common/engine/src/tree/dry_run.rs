//! The dry run of a single file, in the messages of a tree: a root that is a file, Changes, Settled. The sender
//! describes the file, and the receiver reports what would change.
//!
//! A single file is compared by content, whatever its time. If an existing file has the same length, the receiver
//! asks for the hash by an Answer, and the sender describes the file again.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::FileType;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::hash_file::hash_of;
use super::verdict::{self, Verdict, compare_hash};
use super::watch::Watch;
use crate::confined::Dir;
use crate::destination::Place;
use crate::error::TransferError;
use crate::error::failed;
use crate::file::replaceable;
use crate::metadata::ResolvedOverrides;
use crate::metadata::attributes;
use crate::metadata::disk_times::DiskTimes;
use crate::metadata::translate::Translator;
use crate::offload::{offload, unexpected};
use crate::source;
use crate::source::Source;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Time;
use lariat_wire::protocol::transfer::{Destination, HASH_LEN, Hash};
use lariat_wire::protocol::tree::{
    Answer, Answers, Change, Changed, Changes, Entry, Root, Settled, TreeOptions, What,
};

/// Describes an open file. With `checksum` it is read to its end, unless its size is unknown; such a file counts
/// as different from any other.
pub fn describe(source: &Source, checksum: bool) -> Result<Entry, Failure> {
    let offer = source.offer();
    let hash = match offer.size {
        Some(size) if checksum => {
            Some(hash_of(source.file(), size).map_err(|error| source.read_error(&error))?)
        }
        _ => None,
    };
    let what = What::File { size: offer.size.unwrap_or_default(), hash, linked: false };
    Ok(Entry { name: Vec::new(), metadata: offer.metadata.clone(), what })
}

/// Describes an open file on a thread of its own: to read a large file may take longer than a silent peer is waited
/// for.
pub async fn describe_offloaded<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: Source,
    checksum: bool,
) -> Result<(Entry, Source), TransferError> {
    let work = move |done: oneshot::Sender<_>| {
        let described = describe(&source, checksum);
        // Fails only when the request is over.
        let _ = done.send(described.map(|entry| (entry, source)));
    };
    Ok(offload("dry run", work, unexpected(link)).await??)
}

/// Describes a stream, of which nothing is read.
pub fn describe_stream(now: Time) -> Entry {
    let what = What::File { size: 0, hash: None, linked: false };
    Entry { name: Vec::new(), metadata: source::offer::of_stream(now), what }
}

/// A file that its sender has described, and its destination.
pub struct FileDryRun {
    /// Where a relative destination begins.
    pub base: PathBuf,
    /// The destination.
    pub dest: Destination,
    /// The file's description.
    pub root: Entry,
    /// What both ends agreed on.
    pub options: TreeOptions,
    /// What the operator sets on files.
    pub overrides: ResolvedOverrides,
}

/// The result of a comparison.
struct Found {
    change: Option<Change>,
    settled: Settled,
}

/// What follows from a description.
#[expect(clippy::large_enum_variant, reason = "there is one for each dry run of a file")]
enum Finding {
    Found(Found),
    /// The content decides, and the description has no hash.
    Unhashed(FileDryRun),
}

/// Compares the file, and reports to the sender and `watch` what would change. The caller sends failures of this
/// end.
pub async fn dry_run_file<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    file: FileDryRun,
    watch: &dyn Watch,
) -> Result<Settled, TransferError> {
    let found = match find(link, file).await? {
        Finding::Found(found) => found,
        Finding::Unhashed(file) => {
            link.send(&Answers { first: 0, answers: vec![Answer::Difference as u8] }).await?;
            let frame = link.next().await?.ok_or(LinkError::Cut)?;
            let Root { entry } = match frame.kind {
                Root::KIND => link.reader.message()?,
                Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
                other => return Err(LinkError::Unexpected(other).into()),
            };
            if entry.check_root(true).is_err() || !is_hashed(&entry) {
                return Err(TransferError::misbehaved("it describes a file without its hash"));
            }
            match find(link, FileDryRun { root: entry, ..file }).await? {
                Finding::Found(found) => found,
                Finding::Unhashed(_) => return Err(Failure::request(Cause::Internal).into()),
            }
        }
    };
    let Found { change, settled } = found;
    if let Some(change) = change {
        watch.changed(&change);
        if watch.tells_sender() {
            link.outbox().post(&Changes { changes: vec![change] })?;
        }
    }
    link.send(&settled).await?;
    Ok(settled)
}

async fn find<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    file: FileDryRun,
) -> Result<Finding, TransferError> {
    let work = move |done: oneshot::Sender<_>| {
        // Fails only when the request is over.
        let _ = done.send(file.find());
    };
    Ok(offload("dry run", work, unexpected(link)).await??)
}

fn is_hashed(entry: &Entry) -> bool {
    matches!(entry.what, What::File { hash: Some(_), .. })
}

/// Stands for the hash of a stream that is not read. No content has this hash.
pub const UNREAD_HASH: Hash = [0; HASH_LEN];

/// Waits for the receiver's report on a described file. `hashed` describes the file with its hash, if the receiver
/// asks for it.
pub async fn await_dry_run<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    watch: &dyn Watch,
    hashed: impl FnOnce() -> Result<Entry, Failure> + Send + 'static,
) -> Result<Settled, TransferError> {
    let (mut reported, mut hashed) = (false, Some(hashed));
    loop {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Answers::KIND if !reported => {
                let answers: Answers = link.reader.message()?;
                let asks = answers == Answers { first: 0, answers: vec![Answer::Difference as u8] };
                let Some(hashed) = hashed.take().filter(|_| asks) else {
                    return Err(TransferError::misbehaved("it asks for what there is not"));
                };
                let work = move |done: oneshot::Sender<_>| {
                    // Fails only when the request is over.
                    let _ = done.send(hashed());
                };
                let entry = offload("dry run", work, unexpected(link)).await??;
                link.send(&Root { entry }).await?;
            }
            Changes::KIND if !reported => {
                let Changes { changes } = link.reader.message()?;
                let [change] = changes.as_slice() else {
                    return Err(TransferError::misbehaved("it would change more than one file"));
                };
                watch.changed(change);
                reported = true;
            }
            Settled::KIND => return Ok(link.reader.message()?),
            Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}

impl FileDryRun {
    fn find(self) -> Result<Finding, Failure> {
        let What::File { size, hash, .. } = self.root.what else {
            return Err(Failure::request(Cause::Internal));
        };
        let (directory, name) = Place::locate(&self.base, &self.dest)?;
        let path = directory.join(OsStr::from_bytes(&name)).into_os_string().into_encoded_bytes();
        let failed = |action| failed(action, &path);
        let directory = match Dir::open(&directory) {
            // It would be made too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            directory => Some(directory.map_err(failed(Action::Open))?),
        };
        let there = match &directory {
            Some(directory) => directory.stat(&name).map_err(failed(Action::Open))?,
            None => None,
        };
        if let Some(directory) = &directory {
            replaceable::check(directory, &name, &path)?;
        }
        let is_as_long = there.as_ref().is_some_and(|stat| {
            let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
            is_file && u64::try_from(stat.st_size) == Ok(size)
        });
        if is_as_long && hash.is_none() {
            return Ok(Finding::Unhashed(self));
        }
        let Self { root, options, overrides, .. } = self;
        let mut translator = Translator::new(options.preserve, overrides);
        let mut attributes = translator.attributes(root.metadata, true);
        if let (Some(directory), Some(stat)) = (&directory, &there) {
            let (wanted, is) = (attributes.mtime, attributes::mtime(stat));
            attributes.mtime = DiskTimes::default().as_stored(directory, wanted, is);
        }
        let mut verdict = verdict::verdict(&root.what, &attributes, there.as_ref());
        if let (Verdict::Hash, Some(directory)) = (verdict, &directory) {
            verdict = compare_hash(directory, &name, hash).map_err(failed(Action::Read))?;
        }
        let is_same = verdict == Verdict::Same
            && there.as_ref().is_some_and(|stat| attributes.match_stat(stat));
        let change = (!is_same).then(|| Change { path: path.clone(), kind: verdict.change() });
        let done = Changed::file(!is_same);
        let settled = Settled { path, files: 1, bytes: size, done };
        Ok(Finding::Found(Found { change, settled }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::AsyncWriteExt;

    use super::super::Side;
    use super::*;
    use lariat_wire::link::message_frame;
    use lariat_wire::protocol::failure::FileKind;
    use lariat_wire::protocol::metadata::Preserve;
    use lariat_wire::protocol::tree::ChangeKind;

    struct Unwatched;

    impl Watch for Unwatched {
        fn listed(&self, _bytes: u64) {}
        fn had(&self, _bytes: u64) {}
        fn moved(&self, _bytes: u64) {}
        fn missed(&self, _failure: &Failure, _side: Side) {}
        fn skipped(&self, _path: &[u8], _kind: FileKind) {}
        fn acl_dropped(&self, _path: &[u8]) {}
        fn changed(&self, _change: &Change) {}
    }

    fn world() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("source"), "text").unwrap();
        directory
    }

    /// What would become of `dest`, and that nothing has.
    fn looked(directory: &Path, dest: &str, hashed: bool) -> Result<Option<Change>, Failure> {
        let source = Source::open(&directory.join("source"), Preserve::default()).unwrap();
        let root = describe(&source, hashed).unwrap();
        let to = Destination { path: dest.as_bytes().to_vec(), name: b"source".to_vec() };
        let options = TreeOptions { dry_run: true, ..TreeOptions::default() };
        let (base, overrides) = (directory.to_owned(), ResolvedOverrides::default());
        let names = || std::fs::read_dir(directory).unwrap().count();
        let before = names();
        let found = FileDryRun { base, dest: to, root, options, overrides }.find();
        assert_eq!(names(), before);
        let found = match found? {
            Finding::Found(found) => found,
            Finding::Unhashed(_) => return looked(directory, dest, true),
        };
        assert_eq!((found.settled.files, found.settled.bytes), (1, 4));
        assert_eq!(found.settled.done.files, u64::from(found.change.is_some()));
        Ok(found.change)
    }

    #[test]
    fn what_is_there_decides_what_would_be_done() {
        let world = world();
        let at = |name: &str| world.path().join(name);
        let look = |dest| looked(world.path(), dest, false).unwrap();
        let change = |name: &str, kind| Change {
            path: at(name).into_os_string().into_encoded_bytes(),
            kind,
        };
        assert_eq!(look("new"), Some(change("new", ChangeKind::Make)));
        let missing = change("no/such/directory/source", ChangeKind::Make);
        assert_eq!(look("no/such/directory/"), Some(missing));
        std::fs::create_dir(at("directory")).unwrap();
        assert_eq!(look("directory"), Some(change("directory/source", ChangeKind::Make)));
        std::fs::write(at("old"), "texT").unwrap();
        assert_eq!(look("old"), Some(change("old", ChangeKind::Change)));
        let time = at("source").metadata().unwrap().modified().unwrap();
        let old = std::fs::File::options().write(true).open(at("old")).unwrap();
        old.set_modified(time).unwrap();
        let content = "size and time are equal, the content is not";
        assert_eq!(look("old"), Some(change("old", ChangeKind::Change)), "{content}");
        std::fs::write(at("same"), "text").unwrap();
        assert_eq!(look("same"), Some(change("same", ChangeKind::Touch)), "the time differs");
        std::fs::File::options().write(true).open(at("same")).unwrap().set_modified(time).unwrap();
        assert_eq!(look("same"), None);
    }

    #[test]
    fn a_receiver_that_tells_of_more_than_one_change_misbehaves() {
        let one = || Change { path: b"/a".to_vec(), kind: ChangeKind::Make };
        let told = |changes| message_frame(1, &Changes { changes }).unwrap();
        let done = Changed::file(true);
        let settled = Settled { path: b"a".to_vec(), files: 1, bytes: 4, done };
        let settled = message_frame(1, &settled).unwrap();
        let hear = |frames: &[Vec<u8>]| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(async {
                let (mut peer, ours) = tokio::io::duplex(1 << 16);
                peer.write_all(&frames.concat()).await.unwrap();
                let hashed = || Err(Failure::request(Cause::Internal));
                await_dry_run(&mut Link::new(ours), &Unwatched, hashed).await
            })
        };
        assert!(hear(&[told(vec![one()]), settled.clone()]).is_ok());
        assert!(hear(std::slice::from_ref(&settled)).is_ok());
        for frames in [
            [told(vec![one(), one()]), settled.clone()],
            [told(vec![one()]), told(vec![one()])],
            [told(Vec::new()), settled.clone()],
        ] {
            assert!(matches!(hear(&frames), Err(TransferError::Link(_))));
        }
    }

    #[test]
    fn what_a_push_would_refuse_is_refused() {
        let world = world();
        std::fs::create_dir_all(world.path().join("directory/source")).unwrap();
        let directory = looked(world.path(), "directory/", false).unwrap_err();
        assert!(matches!(directory.cause, Cause::NotAFile(_)), "{directory}");
        let below = looked(world.path(), "source/below", false).unwrap_err();
        assert_eq!(below.cause, Cause::Os(rustix::io::Errno::NOTDIR.raw_os_error()));
    }
}
