//! `clean`: removes abandoned temporary files of the key's transfers.

use lariat_engine::TransferError;
use lariat_engine::clean::{self, clean_for};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::clean::{Clean, Cleaned};
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::tree::Missed;
use tokio::io::{AsyncRead, AsyncWrite};

use super::transfer::transfer_ended;
use crate::core::{Done, Outcome};
use crate::files::Files;

/// Removes the files, and reports how many there were.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    clean: Clean,
    files: &Files,
) -> Result<Outcome, LinkError> {
    let (root, owner) = match files.clean(&clean) {
        Ok(opened) => opened,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let cleaning = Box::pin(clean_for(link, root, clean.path.clone(), owner, clean.dry_run));
    let done = tokio::select! {
        done = cleaning => done,
        cause = files.stopped() => Err(Failure::request(cause).into()),
    };
    match done {
        Ok(clean::Done { cleaned, failures }) => {
            for failure in failures {
                link.outbox().post(&Missed { number: None, failure })?;
            }
            link.outbox().post(&cleaned)?;
            let Cleaned { files, bytes } = cleaned;
            let text = format!("{files} files of {bytes} bytes");
            let (files, bytes) = (Some(files), Some(bytes));
            Ok(Outcome::Done(Done { text, files, bytes, sum: None }))
        }
        Err(TransferError::Local(failure)) => Ok(Outcome::Failed(failure)),
        Err(error) => transfer_ended(Err(error), &files.meter),
    }
}
