//! `clean`: abandoned temporary files of the key's transfers go.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use lariat_base::escape::escape;
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

/// Removes them, and says how many there were. A failure leaves the session as it was.
pub async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    clean: Clean,
    work: &FileWork,
) -> Result<ControlFlow<()>, LinkError> {
    let path = escape(&clean.path);
    let done = match open(&clean, work) {
        Ok((root, owner)) => {
            let shown = clean.path.clone();
            let cleaning = Box::pin(clean_for(link, root, shown, owner, clean.dry_run));
            tokio::select! {
                done = cleaning => done,
                () = work.stopped() => Err(Failure::request(Cause::Stopping).into()),
            }
        }
        Err(failure) => Err(failure.into()),
    };
    match done {
        Ok(clean::Done { cleaned, failures }) => {
            for failure in failures {
                link.outbox().post(&Missed { number: None, failure })?;
            }
            link.send(&cleaned).await?;
            let Cleaned { files, bytes } = cleaned;
            transfer_ended("clean", &path, Ok(format!("{files} files of {bytes} bytes")))
        }
        Err(TransferError::Local(failure)) => {
            link.send(&failure).await?;
            transfer_ended("clean", &path, Ok(failure.to_string()))
        }
        Err(error) => transfer_ended("clean", &path, Err(error)),
    }
}

fn open(clean: &Clean, work: &FileWork) -> Result<(Dir, Owner), Failure> {
    clean.check().map_err(|why| Failure::request(Cause::BadRequest(why.to_string())))?;
    let path = work.home.join(OsStr::from_bytes(&clean.path));
    let opened = Dir::open(&path);
    let root = opened.map_err(|error| Failure::io(Action::Open, &clean.path, &error))?;
    Ok((root, Owner { key: work.key, user: work.uid }))
}
