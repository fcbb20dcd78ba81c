//! The dry run of a single file: the sender offers it as ever, and the receiver says what would become of it.
//!
//! A single file is compared by content, whatever its time. If an existing file has the same length, the receiver
//! asks for the hash by an empty Have, and the sender gives it in Complete.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::FileType;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

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
use crate::receive::give_up;
use crate::send::send_failure;
use crate::source::Source;
use crate::transferred::Transferred;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::Message;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::transfer::{Complete, Destination, Done, Hash, Have, Offer};
use lariat_wire::protocol::tree::{Change, Changes, What};

/// An offered file, and where it would go.
pub struct FileDryRun {
    /// Where a relative destination begins.
    pub base: PathBuf,
    /// The destination.
    pub dest: Destination,
    /// The file.
    pub offer: Offer,
    /// What of its metadata it would get.
    pub preserve: Preserve,
    /// What the operator sets on files.
    pub overrides: ResolvedOverrides,
}

/// What follows from an offer.
#[expect(clippy::large_enum_variant, reason = "there is one for each dry run of a file")]
enum Finding {
    /// What would change.
    Found(Option<Change>),
    /// The content decides, and its hash is not known.
    Unhashed(FileDryRun),
}

/// Compares an offered file with what exists, and reports to the sender and `watch` what would change.
pub async fn receive_dry_run<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    file: FileDryRun,
    watch: &dyn Watch,
) -> Result<Transferred, TransferError> {
    let size = file.offer.size.unwrap_or_default();
    match report(link, file, watch).await {
        Ok(changed) => Ok(Transferred { size, changed, ..Transferred::default() }),
        Err(error) => Err(give_up(link, error).await),
    }
}

async fn report<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    file: FileDryRun,
    watch: &dyn Watch,
) -> Result<bool, TransferError> {
    let mut finding = on_thread(link, || file.find(None)).await?;
    if let Finding::Unhashed(file) = finding {
        link.send(&Have::default()).await?;
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        let Complete { hash, .. } = match frame.kind {
            Complete::KIND => link.reader.message()?,
            Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        };
        if hash.is_none() {
            return Err(TransferError::misbehaved("it does not give the file's hash"));
        }
        finding = on_thread(link, move || file.find(hash)).await?;
    }
    let Finding::Found(change) = finding else {
        return Err(Failure::request(Cause::Internal).into());
    };
    let changed = change.is_some();
    if let Some(change) = change {
        watch.changed(&change);
        if watch.tells_sender() {
            link.outbox().post(&Changes { changes: vec![change] })?;
        }
    }
    link.send(&Done { changed, hash: None }).await?;
    Ok(changed)
}

/// Reading a large file may take longer than a silent peer is waited for.
async fn on_thread<S: AsyncRead + AsyncWrite, T: Send + 'static>(
    link: &mut Link<S>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, TransferError> {
    let work = move |done: oneshot::Sender<_>| {
        // Fails only when the request is over.
        let _ = done.send(work());
    };
    Ok(offload("dry run", work, unexpected(link)).await??)
}

/// Offers nothing more of a file than was offered, and its hash if the receiver asks for it. Waits for the
/// receiver's report.
pub async fn send_dry_run<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &Source,
    watch: &dyn Watch,
) -> Result<Transferred, TransferError> {
    let size = source.offer().size;
    let (mut reported, mut asked) = (false, false);
    loop {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Have::KIND if !reported && !asked && size.is_some() => {
                asked = true;
                if link.reader.message::<Have>()? != Have::default() {
                    return Err(TransferError::misbehaved("it asks for what is not sent"));
                }
                let hash = source.whole_hash();
                let hash = on_thread(link, move || Ok(hash(&|| true))).await?;
                let hash = match hash {
                    Ok(hash) => Some(hash),
                    Err(error) => {
                        let failure = source.read_error(&error);
                        send_failure(link, &failure).await;
                        return Err(failure.into());
                    }
                };
                link.send(&Complete { size: size.unwrap_or_default(), hash }).await?;
            }
            Changes::KIND if !reported => {
                let Changes { changes } = link.reader.message()?;
                let [change] = changes.as_slice() else {
                    return Err(TransferError::misbehaved("it would change more than one file"));
                };
                watch.changed(change);
                reported = true;
            }
            Done::KIND => {
                let Done { changed, .. } = link.reader.message()?;
                let size = size.unwrap_or_default();
                return Ok(Transferred { size, changed, ..Transferred::default() });
            }
            Failure::KIND => return Err(TransferError::Remote(link.reader.message()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
}

impl FileDryRun {
    fn find(self, hash: Option<Hash>) -> Result<Finding, Failure> {
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
            is_file && self.offer.size.is_some_and(|size| u64::try_from(stat.st_size) == Ok(size))
        });
        if is_as_long && hash.is_none() {
            return Ok(Finding::Unhashed(self));
        }
        let Self { offer: Offer { size, metadata, .. }, preserve, overrides, .. } = self;
        let mut translator = Translator::new(preserve, overrides);
        let mut attributes = translator.attributes(metadata, true);
        if let (Some(directory), Some(stat)) = (&directory, &there) {
            let (wanted, is) = (attributes.mtime, attributes::mtime(stat));
            attributes.mtime = DiskTimes::default().as_stored(directory, wanted, is);
        }
        let mut verdict = match (size, &there) {
            // Nobody knows what will be in a stream.
            (None, Some(_)) => Verdict::Replace,
            (size, there) => {
                let size = size.unwrap_or_default();
                let what = What::File { size, hash, linked: false };
                verdict::verdict(&what, &attributes, there.as_ref())
            }
        };
        if let (Verdict::Hash, Some(directory)) = (verdict, &directory) {
            verdict = compare_hash(directory, &name, hash).map_err(failed(Action::Read))?;
        }
        let is_same = verdict == Verdict::Same
            && there.as_ref().is_some_and(|stat| attributes.match_stat(stat));
        Ok(Finding::Found(
            (!is_same).then(|| Change { path: path.clone(), kind: verdict.change() }),
        ))
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
    fn looked(directory: &Path, dest: &str) -> Result<Option<Change>, Failure> {
        let source = Source::open(&directory.join("source"), Preserve::default()).unwrap();
        let file = || FileDryRun {
            base: directory.to_owned(),
            dest: Destination { path: dest.as_bytes().to_vec(), name: b"source".to_vec() },
            offer: source.offer().clone(),
            preserve: Preserve::default(),
            overrides: ResolvedOverrides::default(),
        };
        let names = || std::fs::read_dir(directory).unwrap().count();
        let before = names();
        let found = match file().find(None)? {
            Finding::Unhashed(file) => file.find(Some(source.whole_hash()(&|| true).unwrap()))?,
            found @ Finding::Found(_) => found,
        };
        assert_eq!(names(), before);
        match found {
            Finding::Found(change) => Ok(change),
            Finding::Unhashed(_) => panic!("the hash is known"),
        }
    }

    #[test]
    fn what_is_there_decides_what_would_be_done() {
        let world = world();
        let at = |name: &str| world.path().join(name);
        let look = |dest| looked(world.path(), dest).unwrap();
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
        let done = message_frame(1, &Done { changed: true, hash: None }).unwrap();
        let world = world();
        let source = Source::open(&world.path().join("source"), Preserve::default()).unwrap();
        let hear = |frames: &[Vec<u8>]| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(async {
                let (mut peer, ours) = tokio::io::duplex(1 << 16);
                peer.write_all(&frames.concat()).await.unwrap();
                send_dry_run(&mut Link::new(ours), &source, &Unwatched).await
            })
        };
        assert!(hear(&[told(vec![one()]), done.clone()]).is_ok());
        assert!(hear(std::slice::from_ref(&done)).is_ok());
        for frames in [
            [told(vec![one(), one()]), done.clone()],
            [told(vec![one()]), told(vec![one()])],
            [told(Vec::new()), done.clone()],
        ] {
            assert!(matches!(hear(&frames), Err(TransferError::Link(_))));
        }
    }

    #[test]
    fn what_a_push_would_refuse_is_refused() {
        let world = world();
        std::fs::create_dir_all(world.path().join("directory/source")).unwrap();
        let directory = looked(world.path(), "directory/").unwrap_err();
        assert!(matches!(directory.cause, Cause::NotAFile(_)), "{directory}");
        let below = looked(world.path(), "source/below").unwrap_err();
        assert_eq!(below.cause, Cause::Os(rustix::io::Errno::NOTDIR.raw_os_error()));
    }
}
