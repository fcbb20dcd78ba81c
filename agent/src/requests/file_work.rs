//! The file work of a request, in the process that has the rights for it.

use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::request::FileRequest;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{clean, lane, pull, push, push_tree};
use crate::core::Outcome;
use crate::files::Files;

/// Serves the request with this process's rights.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    request: FileRequest,
    files: &Files,
) -> Result<Outcome, LinkError> {
    if let Err(failure) = files.check_way(&request) {
        return Ok(Outcome::Failed(failure));
    }
    match request {
        FileRequest::Push(push) => push::serve(link, push, files).await,
        FileRequest::PushTree(push) => push_tree::serve(link, push, files).await,
        FileRequest::Pull(pull) => pull::serve(link, pull, files).await,
        FileRequest::Lane(lane) => lane::serve(link, lane, files).await,
        FileRequest::Clean(request) => clean::serve(link, request, files).await,
    }
}
