//! `can`: says what a key may do.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::can::{Can, Permissions};

use crate::core::{Outcome, Permit, Session};
use crate::transport::SessionLink;

/// Answers for the key that is named, or the session's own.
pub(super) async fn serve(
    link: &mut SessionLink,
    can: Can,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let Can { key, request } = can;
    let answered = permit.key_named(key.as_deref()).and_then(|key| match request {
        Some(asked) => session.can(&key, &asked).map(Ok),
        None => Ok(Err(Permissions { lines: session.rules_of(&key) })),
    });
    let outcome = match answered {
        Ok(Ok(verdict)) => {
            link.outbox().post(&verdict)?;
            let text = if verdict.allowed { "yes" } else { "no" };
            Outcome::Done(text.to_owned().into())
        }
        Ok(Err(rules)) => {
            link.outbox().post(&rules)?;
            Outcome::Done(format!("{} rules", rules.lines.len()).into())
        }
        Err(failure) => Outcome::Failed(failure),
    };
    permit.finish(link.outbox(), &outcome)?;
    link.writer.flush().await
}
