//! `pull`: a file or a directory of this host goes to the controller.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_engine::tree::{Avoid, Counts, Filter, TreeSource, send_tree};
use lariat_engine::{Cancel, Sent, Source, TransferError, Unwatched, send};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::failure::{Cause, Failure, FileKind};
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::transfer::Sending;
use lariat_wire::protocol::tree::{Changed, Root, Settled};
use tokio::io::{AsyncRead, AsyncWrite};

use super::file_work::FileWork;
use super::{Logged, dry_run, transfer_ended};
use crate::core::Outcome;

/// Sends a file or a tree.
pub async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    pull: Pull,
    work: &FileWork,
) -> Result<Outcome, LinkError> {
    match open(&pull, &work.home) {
        Ok(Opened::File(mut source)) => {
            link.outbox().post(source.offer())?;
            transfer_ended(give(link, &mut source, pull.sending, work).await)
        }
        Ok(Opened::Look(source, checksum)) => dry_run::pull(link, source, checksum, work).await,
        Ok(Opened::Tree(source)) => serve_tree(link, *source, &pull, work).await,
        Ok(Opened::LeftOut) => {
            let settled =
                Settled { path: pull.source, files: 0, bytes: 0, done: Changed::default() };
            link.outbox().post(&settled)?;
            Ok(Outcome::Done("left out".to_owned()))
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn give<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &mut Source,
    how: Sending,
    work: &FileWork,
) -> Result<String, TransferError> {
    let (cancel, mut sent) = (Cancel::default(), Sent::default());
    tokio::select! {
        done = send(link, source, how, &Unwatched, &cancel, &mut sent) => done?,
        never = work.stopping(&cancel) => match never {},
    };
    let Sent { sent, moved, size, .. } = sent;
    Ok(format!("{size} bytes, of which {moved} went, as {sent}"))
}

/// What a pull asks for.
enum Opened {
    File(Source),
    /// A file for a dry run, and whether it is compared by content.
    Look(Source, bool),
    /// A file that the rules leave out.
    LeftOut,
    Tree(Box<TreeSource>),
}

fn open(pull: &Pull, home: &Path) -> Result<Opened, Failure> {
    let bad = |why: String| Failure::request(Cause::BadRequest(why));
    let path = home.join(OsStr::from_bytes(&pull.source));
    let Some(options) = &pull.tree else {
        return Ok(Opened::File(Source::open(&path, Preserve::default())?));
    };
    let filter = Filter::new(&options.rules, &options.only).map_err(|why| bad(why.to_string()))?;
    match Source::open(&path, options.preserve) {
        Err(Failure { cause: Cause::NotAFile(FileKind::Directory), .. }) => {
            let tree = TreeSource::open(&path, options.clone(), filter)?;
            Ok(Opened::Tree(Box::new(tree)))
        }
        Ok(_) if filter.excludes_file(&path) => Ok(Opened::LeftOut),
        Ok(source) if options.dry_run => Ok(Opened::Look(source, options.checksum)),
        source => Ok(Opened::File(source?)),
    }
}

async fn serve_tree<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: TreeSource,
    pull: &Pull,
    work: &FileWork,
) -> Result<Outcome, LinkError> {
    link.outbox().post(&Root { entry: source.root().clone() })?;
    let (cancel, mut counts) = (Cancel::default(), Counts::default());
    let done = tokio::select! {
        done = send_tree(link, source, Avoid::new(), pull.sending, &Logged, &cancel, &mut counts) => done,
        never = work.stopping(&cancel) => match never {},
    };
    let Counts { sent, moved, .. } = counts;
    let summary = done.map(|Settled { files, bytes, .. }| {
        format!("{files} files of {bytes} bytes, of which {moved} went, as {sent}")
    });
    transfer_ended(summary)
}
