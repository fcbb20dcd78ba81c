//! `can`: says what a key may do.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::can::{Asked, Can, Permissions, Verdict};
use lariat_wire::protocol::failure::{Cause, Failure};

use super::as_user;
use crate::core::{Answer, Outcome, Permit, Session};
use crate::keyring::Entry;
use crate::transport::SessionLink;

/// Answers for the key that is named, or the session's own.
pub(super) async fn serve(
    link: &mut SessionLink,
    can: Can,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let Can { key, request } = can;
    let answered = match (permit.key_named(key.as_deref()), request) {
        (Ok(key), Some(asked)) => verdict(&key, &asked, session).await.map(Ok),
        (Ok(key), None) => Ok(Err(Permissions { lines: session.rules_of(&key) })),
        (Err(failure), _) => Err(failure),
    };
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

/// Decides, and has the way of a request that is confined to a directory looked at: its links are not the rules', but
/// that it passes none is.
async fn verdict(key: &Entry, asked: &Asked, session: &Session) -> Result<Verdict, Failure> {
    let Answer { verdict, way } = session.can(key, asked)?;
    let Some(way) = way else { return Ok(verdict) };
    match as_user::look(way, session).await {
        Err(Failure { cause: Cause::NotPermitted { rule, .. }, .. }) => {
            let (rule, why) = rule.split_once(": ").unwrap_or((&rule, ""));
            Ok(Verdict { allowed: false, rule: rule.to_owned(), why: why.to_owned() })
        }
        // What else stands in its way is no rule.
        Ok(()) | Err(Failure { cause: Cause::Os(_), .. }) => Ok(verdict),
        Err(failure) => Err(failure),
    }
}
