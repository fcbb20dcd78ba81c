//! `pull`: sends a file or a directory of this host to the controller.

use lariat_engine::tree::{Avoid, Counts, TreeSource, send_dry_run, send_tree};
use lariat_engine::{Cancel, SendOptions, Source, TransferError, Transferred, send};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::pull::Pull;
use lariat_wire::protocol::tree::{Changed, Root, Settled};
use tokio::io::{AsyncRead, AsyncWrite};

use super::transfer::{Logged, dry_run, file_done, transfer_ended, tree_done};
use crate::core::{Done, Outcome};
use crate::files::{self, Files};

/// Sends a file or a tree.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    pull: Pull,
    files: &Files,
) -> Result<Outcome, LinkError> {
    match files.send(&pull) {
        Ok(files::Sent::File(mut source)) => {
            // Before the controller knows of the file.
            let (lanes, joinable) = files.send_lanes(pull.transfer);
            link.outbox().post(source.offer())?;
            if pull.tree.is_some_and(|options| options.dry_run) {
                return dry_run(files, send_dry_run(link, &source, &Logged(&files.meter))).await;
            }
            let given = give(link, &mut source, lanes.carry(pull.sending), files).await;
            drop(joinable);
            transfer_ended(given, &files.meter)
        }
        Ok(files::Sent::Tree(source)) => serve_tree(link, *source, &pull, files).await,
        Ok(files::Sent::LeftOut) => {
            let settled =
                Settled { path: pull.source, files: 0, bytes: 0, done: Changed::default() };
            link.outbox().post(&settled)?;
            Ok(Outcome::Done("left out".to_owned().into()))
        }
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

async fn give<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: &mut Source,
    how: SendOptions,
    files: &Files,
) -> Result<Done, TransferError> {
    let (cancel, mut sent) = (Cancel::default(), Transferred::default());
    tokio::select! {
        done = send(link, source, how, &*files.meter, &cancel, &mut sent) => done?,
        never = files.stopping(&cancel) => match never {},
    };
    Ok(file_done(&sent, "went"))
}

async fn serve_tree<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    source: TreeSource,
    pull: &Pull,
    files: &Files,
) -> Result<Outcome, LinkError> {
    // Before the controller knows of the directory.
    let (lanes, _joinable) = files.send_lanes(pull.transfer);
    let source = lanes.carry_tree(source);
    link.outbox().post(&Root { entry: source.root().clone() })?;
    let (cancel, mut counts) = (Cancel::default(), Counts::default());
    let logged = Logged(&files.meter);
    let done = tokio::select! {
        done = send_tree(link, source, Avoid::new(), pull.sending, &logged, &cancel, &mut counts) => done,
        never = files.stopping(&cancel) => match never {},
    };
    transfer_ended(done.map(|settled| tree_done(&settled, &counts, "went")), &files.meter)
}
