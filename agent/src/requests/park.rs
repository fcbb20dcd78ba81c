//! Connections that another host offers to controllers: each is parked, and the session that it was made with ends.

use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::connect::Park;
use lariat_wire::protocol::failure::{Cause, Failure};
use tokio::io::{empty, join, sink};
use tracing::error;

use crate::core::{Done, Outcome, Permit, Session};
use crate::parking::Newcomer;
use crate::transport::{BoxStream, SessionLink};

/// Parks the session's connection, which is used up.
pub(super) fn serve(
    link: &mut SessionLink,
    Park { host }: Park,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let request = link.outbox().request();
    let used_up: BoxStream = Box::new(join(empty(), sink()));
    let mut stream = std::mem::replace(link, Link::new(used_up)).into_stream();
    let text = format!("{host} waits");
    let newcomer = |stream| Newcomer {
        host,
        key: session.login,
        stream,
        request,
        memory: session.memory.clone(),
    };
    let parked = stream.detach().and_then(|()| {
        session.agent.parking.park(newcomer(stream), session.agent.keyring.subscribe())
    });
    let outcome = match parked {
        Ok(()) => Outcome::Done(Done { text, ..Done::default() }),
        Err(why) => {
            error!("a connection can't be parked: {why}");
            Outcome::Failed(Failure::request(Cause::Internal))
        }
    };
    permit.finish(link.outbox(), &outcome)
}
