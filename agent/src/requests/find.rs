//! Finds the job that a request names.

use lariat_base::clock::since_boot;
use lariat_base::name::JobId;
use lariat_wire::protocol::failure::{Cause, Failure};

use crate::core::Session;
use crate::jobs::Found;

/// Finds a job of the session's key, or of any key. The answer for another key's job is that of a missing
/// one.
pub(super) async fn find(session: &Session, job: JobId, all_keys: bool) -> Result<Found, Failure> {
    let key = (!all_keys).then_some(session.key.id);
    let found = session.agent.jobs.find(key, job).await.map_err(Failure::from)?;
    found.ok_or_else(|| {
        let up_ms = u64::try_from(since_boot().as_millis()).unwrap_or(u64::MAX);
        Failure::request(Cause::NoSuchJob { up_ms })
    })
}
