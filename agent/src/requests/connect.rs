//! Connections through the host to an address.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::connect::{Connect, Connected};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use rustix::io::Errno;
use tokio::io::{empty, join, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::piped::{carried, framed, stopped};
use crate::core::{Outcome, Permit, Session};
use crate::parking::NotParked;
use crate::policy::Grant;
use crate::splice;
use crate::transport::{BoxStream, Movable, SessionLink};

/// How long one address may take to answer.
const DIALLING: Duration = Duration::from_secs(10);

/// Connects, and carries bytes until both directions have ended.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: Connect,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let dialled = tokio::select! {
        biased;
        () = session.stopped() => return Ok(()),
        dialled = dial(&request, permit.grant(), session) => dialled,
    };
    let (stream, address) = match dialled {
        Ok(dialled) => dialled,
        Err(failure) => return permit.finish(link.outbox(), &Outcome::Failed(failure)),
    };
    link.send(&Connected { address: address.clone() }).await?;
    let outcome = if request.bare {
        bare(link, stream, &address, session).await
    } else {
        framed(link, stream, &address, stopped(session)).await?
    };
    permit.finish(link.outbox(), &outcome)
}

/// Takes a connection that the host has parked, else connects to an address.
async fn dial(
    connect: &Connect,
    grant: &Grant,
    session: &Session,
) -> Result<(Movable, String), Failure> {
    let Some(host) = connect.parked.as_ref().filter(|_| grant.parked) else {
        return tcp(connect, &grant.addresses).await;
    };
    match session.agent.parking.take(host).await {
        Ok(stream) => Ok((stream, format!("host:{host}"))),
        Err(NotParked { since }) if grant.addresses.is_empty() => {
            let since_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
            Err(Failure::request(Cause::NotParked { host: host.clone(), since_ms }))
        }
        Err(_) => tcp(connect, &grant.addresses).await,
    }
}

/// Connects to the first of the permitted addresses that answers.
async fn tcp(connect: &Connect, addresses: &[SocketAddr]) -> Result<(Movable, String), Failure> {
    let mut failed = Failure {
        path: Some(format!("{}:{}", connect.host, connect.port).into()),
        ..Failure::request(Cause::BadRequest("no address of this name is known here".to_owned()))
    };
    for &address in addresses {
        let dialled = timeout(DIALLING, TcpStream::connect(address)).await;
        match dialled.unwrap_or_else(|_| Err(Errno::TIMEDOUT.into())) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok((Movable::Tcp(stream), address.to_string()));
            }
            Err(error) => {
                failed = Failure::io(Action::Connect, address.to_string().as_bytes(), &error);
            }
        }
    }
    Err(failed)
}

/// Ends TLS, and joins the two connections. The session's connection is used up.
async fn bare(link: &mut SessionLink, far: Movable, address: &str, session: &Session) -> Outcome {
    let used_up: BoxStream = Box::new(join(empty(), sink()));
    let stream = std::mem::replace(link, Link::new(used_up)).into_stream();
    let bytes = AtomicU64::new(0);
    let joined = async {
        let (near, first) = stream.bare().await?;
        splice::join(near, far, &first, &bytes).await
    };
    let result = tokio::select! {
        biased;
        outcome = stopped(session) => return outcome,
        result = joined => result,
    };
    match result {
        Ok(()) => carried(bytes.load(Ordering::Relaxed)),
        // An end that has what it wants may close before the other one does.
        Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
            carried(bytes.load(Ordering::Relaxed))
        }
        Err(error) => {
            let bytes = bytes.load(Ordering::Relaxed);
            let error = lariat_base::os_error::io_error(&error);
            Outcome::Over(format!("to {address}: {error}, after {bytes} bytes"))
        }
    }
}
