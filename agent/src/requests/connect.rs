//! Connections through the host: to an address, or to a unix socket.

use std::ffi::OsStr;
use std::io::{
    self,
    ErrorKind::{BrokenPipe, ConnectionReset},
};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lariat_wire::link::{Link, LinkError};
use lariat_wire::pipe::{Carried, PipeError, pipe};
use lariat_wire::protocol::connect::{Connect, ConnectUnix, Connected};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::request::ConnectRequest;
use rustix::io::Errno;
use tokio::io::{empty, join, sink, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::core::{ActAs, Done, Outcome, Permit, Session};
use crate::parking::NotParked;
use crate::policy::Grant;
use crate::splice;
use crate::transport::{BoxStream, Movable, SessionLink};

/// How long one address may take to answer.
const DIALLING: Duration = Duration::from_secs(10);

/// Connects, and carries bytes until both directions have ended.
pub(super) async fn serve(
    link: &mut SessionLink,
    request: ConnectRequest,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    match request {
        ConnectRequest::Connect(connect) => {
            let dialled = dial(&connect, permit.grant(), session);
            let dialled = tokio::select! {
                biased;
                () = session.stopped() => return Ok(()),
                dialled = dialled => dialled,
            };
            carry(link, dialled, connect.bare, permit, session).await
        }
        ConnectRequest::ConnectUnix(connect) => {
            let dialled = unix(&connect, &permit, session).await;
            carry(link, dialled, false, permit, session).await
        }
        ConnectRequest::Park(park) => super::park::serve(link, park, permit, session),
    }
}

/// Carries bytes between the link and the connection that was made, if it was.
async fn carry(
    link: &mut SessionLink,
    dialled: Result<(Movable, String), Failure>,
    is_bare: bool,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (stream, address) = match dialled {
        Ok(dialled) => dialled,
        Err(failure) => return permit.finish(link.outbox(), &Outcome::Failed(failure)),
    };
    link.send(&Connected { address: address.clone() }).await?;
    let outcome = if is_bare {
        bare(link, stream, &address, session).await
    } else {
        framed(link, stream, &address, session).await?
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

/// Connects to a unix socket as the agent's own user. The agent's sockets would let a key act as root, or as itself
/// without its rules.
async fn unix(
    ConnectUnix { path, .. }: &ConnectUnix,
    permit: &Permit<'_>,
    session: &Session,
) -> Result<(Movable, String), Failure> {
    if let ActAs::Other(..) = permit.act_as() {
        let why = "a unix socket can be connected to as the agent's own user alone";
        return Err(Failure::request(Cause::BadRequest(why.to_owned())));
    }
    let text = lariat_base::escape::escape(path);
    let path = Path::new(OsStr::from_bytes(path));
    let failed =
        |error: io::Error| Failure::io(Action::Connect, path.as_os_str().as_bytes(), &error);
    let real = path.canonicalize().map_err(failed)?;
    let state = session.agent.state.canonicalize().map_err(failed)?;
    if real.starts_with(state) {
        let why = format!("{text} is the agent's own socket");
        return Err(Failure::request(Cause::BadRequest(why)));
    }
    let stream = UnixStream::connect(&real).await.map_err(failed)?;
    Ok((Movable::Unix(stream), text))
}

/// Carries bytes in frames.
async fn framed(
    link: &mut SessionLink,
    stream: Movable,
    address: &str,
    session: &Session,
) -> Result<Outcome, LinkError> {
    let (Carried { sent, received }, result) = tokio::select! {
        biased;
        // The session itself says why.
        () = session.stopped() => return Ok(stopped(session)),
        ended = pipe(link, split(stream)) => ended,
    };
    match result {
        Ok(()) => Ok(carried(sent + received)),
        Err(PipeError::Local(error)) => {
            Ok(Outcome::Failed(Failure::io(Action::Connect, address.as_bytes(), &error)))
        }
        Err(error @ PipeError::GivenUp) => Ok(Outcome::Over(error.to_string())),
        Err(PipeError::Link(error)) => Err(error),
    }
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
        () = session.stopped() => return stopped(session),
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

fn stopped(session: &Session) -> Outcome {
    session
        .stop_cause()
        .map_or(Outcome::Abandoned, |cause| Outcome::Failed(Failure::request(cause)))
}

fn carried(bytes: u64) -> Outcome {
    Outcome::Done(Done { text: format!("{bytes} bytes"), bytes: Some(bytes), ..Done::default() })
}
