//! `jobs`: lists the jobs of the key, or of all keys, on this host.

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Action, Failure};
use lariat_wire::protocol::job::{List, Listed};

use crate::core::{Outcome, Permit, Session};
use crate::transport::SessionLink;

/// Sends the list, in as many messages as it takes.
pub(super) async fn serve(
    link: &mut SessionLink,
    list: &List,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let key = (!list.all_keys).then_some(session.key.id);
    let mut jobs = match session.agent.jobs.list(key, &list.prefix) {
        Ok(jobs) => jobs,
        Err(error) => {
            let failure = Failure { path: None, ..Failure::io(Action::Read, &[], &error) };
            return permit.finish(link.outbox(), &Outcome::Failed(failure));
        }
    };
    let count = jobs.len();
    loop {
        let rest = jobs.split_off(jobs.len().min(Listed::MOST));
        let more = !rest.is_empty();
        link.send(&Listed { jobs, more }).await?;
        if !more {
            return permit.finish(link.outbox(), &Outcome::Done(format!("{count} of them")));
        }
        jobs = rest;
    }
}
