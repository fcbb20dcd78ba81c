//! What controllers ask for: one file for each request, told apart here.

use lariat_common::link::LinkError;
use lariat_common::protocol::failure::{Cause, Failure};
use lariat_common::protocol::request::Request;

use crate::session::{Session, SessionLink};

/// Does what the policy has permitted. `Ok` leaves the link ready for the next request.
pub async fn serve(
    link: &mut SessionLink,
    request: Request,
    _session: &Session,
) -> Result<(), LinkError> {
    match request {
        Request::Run(_) | Request::Push(_) | Request::Pull(_) => {
            let why = "this agent can't do that yet".to_owned();
            link.send(&Failure::request(Cause::BadRequest(why))).await
        }
    }
}
