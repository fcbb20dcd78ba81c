//! `pull`: a file or a folder of this host goes to the controller.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_common::escape::escape;
use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Cause, Failure, FileKind};
use lariat_common::protocol::transfer::{Pull, Sending};
use lariat_common::protocol::tree::{Root, Settled};
use lariat_common::transfer::tree::{Avoid, Counts, Filter, TreeSource, send_tree};
use lariat_common::transfer::{Cancel, Sent, Source, TransferError, Unwatched, send};
use tracing::info;

use super::acting::Acting;
use super::{Logged, stopping, transfer_ended};
use crate::session::{Session, SessionLink};

/// Sends a file or a tree. Failures are the controller's to show, and end nothing but the transfer.
pub async fn serve(
    link: &mut SessionLink,
    pull: Pull,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let opened = Acting::begin(session, pull.user.as_deref())
        .and_then(|acting| Ok((open(&pull, acting.user.home())?, acting)));
    let (mut source, _acting) = match opened {
        Ok((Opened::File(source), acting)) => (source, acting),
        Ok((Opened::Tree(source), _acting)) => {
            return serve_tree(link, *source, &pull, session).await;
        }
        Err(failure) => {
            info!("pull: {failure}");
            link.send(&failure).await?;
            return Ok(ControlFlow::Continue(()));
        }
    };
    link.outbox().post(source.offer())?;
    transfer_ended(
        "pull",
        &escape(&pull.source),
        give(link, &mut source, pull.sending, session).await,
    )
}

async fn give(
    link: &mut SessionLink,
    source: &mut Source,
    how: Sending,
    session: &Session,
) -> Result<String, TransferError> {
    let (cancel, mut sent) = (Cancel::default(), Sent::default());
    tokio::select! {
        done = send(link, source, how, &Unwatched, &cancel, &mut sent) => done?,
        never = stopping(session, &cancel) => match never {},
    };
    let Sent { sent, moved, size } = sent;
    Ok(format!("{size} bytes, of which {moved} went, as {sent}"))
}

/// What a pull asks for.
enum Opened {
    File(Source),
    Tree(Box<TreeSource>),
}

fn open(pull: &Pull, home: &Path) -> Result<Opened, Failure> {
    let bad = |why: String| Failure::request(Cause::BadRequest(why));
    pull.check().map_err(|why| bad(why.to_string()))?;
    let path = home.join(OsStr::from_bytes(&pull.source));
    match (Source::open(&path), &pull.tree) {
        (Err(Failure { cause: Cause::NotAFile(FileKind::Folder), .. }), Some(options)) => {
            options.check().map_err(|why| bad(why.to_string()))?;
            let filter =
                Filter::new(&options.rules, &options.only).map_err(|why| bad(why.to_string()))?;
            let tree = TreeSource::open(&path, options.clone(), filter)?;
            Ok(Opened::Tree(Box::new(tree)))
        }
        (source, _) => Ok(Opened::File(source?)),
    }
}

async fn serve_tree(
    link: &mut SessionLink,
    source: TreeSource,
    pull: &Pull,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    link.outbox().post(&Root { entry: source.root().clone() })?;
    let (cancel, mut counts) = (Cancel::default(), Counts::default());
    let done = tokio::select! {
        done = send_tree(link, source, Avoid::new(), pull.sending, &Logged, &cancel, &mut counts) => done,
        never = stopping(session, &cancel) => match never {},
    };
    let Counts { sent, moved, .. } = counts;
    let summary = done.map(|Settled { files, bytes, .. }| {
        format!("{files} files of {bytes} bytes, of which {moved} went, as {sent}")
    });
    transfer_ended("pull", &escape(&pull.source), summary)
}
