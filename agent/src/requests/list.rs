//! `jobs`: which jobs the key has on this host.

use std::ops::ControlFlow;

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::job::{List, Listed};
use tracing::warn;

use crate::session::{Session, SessionLink};

/// Names them, in as many messages as it takes.
pub async fn serve(
    link: &mut SessionLink,
    list: List,
    session: &Session,
) -> Result<ControlFlow<()>, LinkError> {
    let listed = if list.is_valid() {
        session
            .agent
            .jobs
            .list(session.key.id, &list.prefix)
            .map_err(|error| Failure { path: None, ..Failure::io(Action::Read, &[], &error) })
    } else {
        let why = "a job's id begins with at most 32 hexadecimal digits";
        Err(Failure::request(Cause::BadRequest(why.to_owned())))
    };
    match listed {
        Ok(mut jobs) => loop {
            let rest = jobs.split_off(jobs.len().min(Listed::MOST));
            let more = !rest.is_empty();
            link.send(&Listed { jobs, more }).await?;
            if !more {
                break;
            }
            jobs = rest;
        },
        Err(failure) => {
            warn!("jobs: {failure}");
            link.send(&failure).await?;
        }
    }
    Ok(ControlFlow::Continue(()))
}
