//! Has a worker look at the way of a file request, which it does not serve.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::FileRequest;
use tokio::time::timeout;

use super::kinds::may_say;
use super::process::Worker;
use super::relay::{ENDING, KEEPING, begin, granted};
use super::request::WorkerRequest;
use crate::core::Session;
use crate::policy::Confinement;
use crate::user::User;

/// Looks at the way of a request as the worker's user.
pub(crate) async fn look(
    mut worker: Worker,
    request: FileRequest,
    (user, root): (&User, Confinement),
    session: &Session,
) -> Result<(), Failure> {
    let request = WorkerRequest::Look(request);
    let (memory, _charge) = granted(&request, session)?;
    let answer = async {
        let mut link = begin(&mut worker, &request, (user, Some(root)), session, memory).await?;
        match link.next().await {
            Ok(Some(frame)) if may_say(&request, frame.kind) => {
                Ok(Some(link.reader.message::<Failure>()?))
            }
            Ok(Some(frame)) => Err(LinkError::Unexpected(frame.kind)),
            // Its exit status tells whether it has looked.
            Ok(None) | Err(LinkError::Cut) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let died = || Failure::request(Cause::WorkerFailed);
    let told = timeout(KEEPING, answer).await.map_err(|_| died())?.map_err(|_| died())?;
    match worker.ended(ENDING).await {
        Ok(Some(status)) if status.success() => told.map_or(Ok(()), Err),
        Ok(_) | Err(_) => Err(died()),
    }
}
