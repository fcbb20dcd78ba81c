//! `doctor`: examines the host.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Cause, Failure};
use tokio::task::spawn_blocking;

use crate::core::{Outcome, Permit, Session};
use crate::examine::examine;
use crate::transport::SessionLink;

/// Answers with everything that was found.
pub(super) async fn serve(
    link: &mut SessionLink,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (path, state) = (session.agent.config_path.clone(), session.agent.state.clone());
    // Files are read, and systemd may be asked.
    let outcome = match spawn_blocking(move || examine(&path, &state)).await {
        Ok(examined) => {
            link.outbox().post(&examined)?;
            Outcome::Done(format!("{} findings", examined.findings.len()).into())
        }
        Err(_) => Outcome::Failed(Failure::request(Cause::Stopping)),
    };
    permit.finish(link.outbox(), &outcome)?;
    link.writer.flush().await
}
