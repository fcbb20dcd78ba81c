//! Ports of the host that lead to the controller.

use std::net::SocketAddr;

use lariat_wire::link::{LinkError, Outbox};
use lariat_wire::protocol::connect::Connected;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use lariat_wire::protocol::listen::{Arrived, Listen, Listening, Take};
use tokio::net::TcpListener;

use super::piped::{framed, stopped};
use crate::core::{Done, Outcome, Permit, Session};
use crate::listeners::{Listener, Taken};
use crate::transport::{Movable, SessionLink};

/// Listens, and announces connections, until the controller ends it.
pub(super) async fn serve(
    link: &mut SessionLink,
    listen: Listen,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let (socket, listener, address) = match open(&listen, session).await {
        Ok(opened) => opened,
        Err(failure) => return permit.finish(link.outbox(), &Outcome::Failed(failure)),
    };
    link.send(&Listening { listener: listener.number(), address: address.to_string() }).await?;
    let outbox = link.outbox().clone();
    let outcome = tokio::select! {
        biased;
        outcome = stopped(session) => outcome,
        () = listener.superseded() => Outcome::Failed(Failure::request(Cause::Superseded)),
        ended = link.next() => match ended? {
            None => ended_by_peer(&listener),
            Some(frame) => return Err(LinkError::Unexpected(frame.kind)),
        },
        failed = accept(&socket, &listener, &outbox) => match failed {
            Failed::Here(error) => {
                let place = address.to_string();
                Outcome::Failed(Failure::io(Action::Listen, place.as_bytes(), &error))
            }
            Failed::Link(error) => return Err(error),
        },
        never = listener.expire() => match never {},
    };
    // The port is free before another listener may have it.
    drop(socket);
    drop(listener);
    permit.finish(link.outbox(), &outcome)
}

fn ended_by_peer(listener: &Listener) -> Outcome {
    let (count, bytes) = listener.carried();
    let text = format!("{count} connections, {bytes} bytes");
    Outcome::Done(Done { text, bytes: Some(bytes), ..Done::default() })
}

/// Binds the port. An earlier listener of the same key there ends before.
async fn open(
    listen: &Listen,
    session: &Session,
) -> Result<(TcpListener, Listener, SocketAddr), Failure> {
    let bad = || Failure::request(Cause::BadRequest(format!("{} is no address", listen.address)));
    let address = SocketAddr::new(listen.ip().ok_or_else(bad)?, listen.port);
    let listeners = &session.agent.listeners;
    if listen.port != 0 {
        listeners.supersede(session.owner(), address).await;
    }
    let failed =
        |error: std::io::Error| Failure::io(Action::Listen, address.to_string().as_bytes(), &error);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, listeners.add(session.owner(), bound), bound))
}

/// Why no more connections are accepted.
enum Failed {
    Here(std::io::Error),
    Link(LinkError),
}

async fn accept(socket: &TcpListener, listener: &Listener, outbox: &Outbox) -> Failed {
    loop {
        listener.room().await;
        let (stream, from) = match socket.accept().await {
            Ok(accepted) => accepted,
            // The peer has gone again.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Failed::Here(error),
        };
        let _ = stream.set_nodelay(true);
        let connection = match Movable::Tcp(stream).detach() {
            Ok(stream) => listener.arrived(stream, from),
            Err(error) => return Failed::Here(error),
        };
        if let Err(error) = outbox.post(&Arrived { connection, from: from.to_string() }) {
            return Failed::Link(error);
        }
    }
}

/// Takes a connection that has arrived at a listener of the same key, and carries its bytes until both directions, or
/// the listener, have ended.
pub(super) async fn take(
    link: &mut SessionLink,
    Take { listener, connection }: Take,
    permit: Permit<'_>,
    session: &Session,
) -> Result<(), LinkError> {
    let taken = session.agent.listeners.take(session.owner(), listener, connection);
    let why = "this connection does not wait any longer";
    let taken = taken.ok_or_else(|| Failure::request(Cause::BadRequest(why.to_owned())));
    let attached = taken.and_then(|Taken { stream, from, by }| {
        let failed = |error| Failure::io(Action::Connect, from.to_string().as_bytes(), &error);
        Ok((stream.attach().map_err(failed)?, from.to_string(), by))
    });
    let (stream, from, by) = match attached {
        Ok(attached) => attached,
        Err(failure) => return permit.finish(link.outbox(), &Outcome::Failed(failure)),
    };
    link.send(&Connected { address: from.clone() }).await?;
    let outcome = tokio::select! {
        biased;
        () = by.gone() => {
            let why = "the port where it arrived is closed";
            Outcome::Failed(Failure::request(Cause::BadRequest(why.to_owned())))
        }
        outcome = framed(link, stream, &from, stopped(session)) => outcome?,
    };
    if let Outcome::Done(done) = &outcome {
        by.count(done.bytes.unwrap_or_default());
    }
    permit.finish(link.outbox(), &outcome)
}
