//! `clean`: abandoned temporary files of the key's transfers go.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_engine::clean::{self, clean_for};
use lariat_engine::confined::Dir;
use lariat_engine::{Owner, TransferError};
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::clean::{Clean, Cleaned};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::tree::Missed;
use tokio::io::{AsyncRead, AsyncWrite};

use super::file_work::FileWork;
use super::transfer_ended;
use crate::core::Outcome;

/// Removes them, and says how many there were.
pub async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    clean: Clean,
    work: &FileWork,
) -> Result<Outcome, LinkError> {
    let (root, owner) = match open(&clean, work) {
        Ok(opened) => opened,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let cleaning = Box::pin(clean_for(link, root, clean.path.clone(), owner, clean.dry_run));
    let done = tokio::select! {
        done = cleaning => done,
        () = work.stopped() => Err(Failure::request(Cause::Stopping).into()),
    };
    match done {
        Ok(clean::Done { cleaned, failures }) => {
            for failure in failures {
                link.outbox().post(&Missed { number: None, failure })?;
            }
            link.outbox().post(&cleaned)?;
            let Cleaned { files, bytes } = cleaned;
            Ok(Outcome::Done(format!("{files} files of {bytes} bytes")))
        }
        Err(TransferError::Local(failure)) => Ok(Outcome::Failed(failure)),
        Err(error) => transfer_ended(Err(error)),
    }
}

fn open(clean: &Clean, work: &FileWork) -> Result<(Dir, Owner), Failure> {
    let path = work.home.join(OsStr::from_bytes(&clean.path));
    let opened = Dir::open(&path);
    let root = opened.map_err(|error| Failure::io(Action::Open, &clean.path, &error))?;
    Ok((root, Owner { key: work.key, user: work.uid }))
}
