//! `status`: tells how the host is, and who uses it.

use std::sync::Arc;

use lariat_wire::grown::Grown;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::status::HostStatus;
use lariat_wire::protocol::verb::Verb;
use tokio::task::spawn_blocking;

use crate::core::{Outcome, Permit, Session};
use crate::report::{Asker, report};
use crate::transport::SessionLink;

/// Answers with the whole status.
pub(super) async fn serve(
    link: &mut SessionLink,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let agent = Arc::clone(&session.agent);
    let asker = Asker { owner: session.owner(), sees_all: permit.has(Verb::Audit) };
    // Files are read, and a disk may be slow.
    let outcome = match spawn_blocking(move || report(&agent, asker)).await {
        Ok(report) => {
            link.outbox().post(&HostStatus { report: Grown(report) })?;
            Outcome::Done("told".to_owned().into())
        }
        Err(_) => Outcome::Failed(Failure::request(Cause::Stopping)),
    };
    permit.finish(link.outbox(), &outcome)?;
    link.writer.flush().await
}
