//! Finds the job that a request names.

use lariat_base::clock::{since_boot, whole_milliseconds};
use lariat_base::name::JobId;
use lariat_wire::protocol::failure::{Cause, Failure};

use crate::core::Session;
use crate::jobs::Found;

/// Finds a job of the session's key, or of any key. The answer for another key's job is that of a missing
/// one.
pub(super) async fn find(session: &Session, job: JobId, all_keys: bool) -> Result<Found, Failure> {
    let key = (!all_keys).then_some(session.owner());
    let found = session.agent.jobs.find(key, job).await.map_err(Failure::from)?;
    found.ok_or_else(|| {
        let up_ms = whole_milliseconds(since_boot());
        Failure::request(Cause::NoSuchJob { up_ms })
    })
}
