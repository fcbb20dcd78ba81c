//! The listening socket that systemd passes to the agent (sd_listen_fds(3)): of a socket unit, or the agent's own,
//! which systemd keeps open over restarts.
#![expect(unsafe_code, reason = "each block says why it is sound")]

use std::io;
use std::iter::repeat;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

use lariat_base::escape::escape;
use socket2::{Socket, Type};

use crate::notify::LISTENER;

/// A listening TCP socket that systemd passed.
pub struct Passed {
    pub(super) socket: Socket,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// An earlier run of the agent had it stored; otherwise it belongs to a socket unit.
    pub(super) is_stored: bool,
}

/// Why what systemd passed can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// The sockets are not there as the environment says.
    #[error("take the sockets that systemd passed (LISTEN_FDS): {0}")]
    Io(#[from] io::Error),
    /// One is of another kind.
    #[error("systemd passed the socket \"{0}\", which is not a listening TCP socket")]
    OtherKind(String),
    /// Socket units passed more than one.
    #[error("systemd passed {0} sockets of socket units, but the agent listens on one only")]
    TooMany(usize),
}

/// Takes the sockets that systemd passed to this process.
///
/// Only for the first lines of a process that has opened nothing itself, and only once.
pub fn take() -> Result<Vec<Passed>, PassedError> {
    // SAFETY: each number is open, for its flags were set just now, and nobody else owns it: this process has opened
    // nothing yet.
    let sockets = sd_notify::listen_fds()?.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
    // All are owned before anything is opened or can fail.
    let sockets: Vec<OwnedFd> = sockets.collect();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').chain(repeat(""));
    let passed: Vec<_> = sockets
        .into_iter()
        .zip(names)
        .map(|(socket, name)| passed(socket, name))
        .collect::<Result<_, _>>()?;
    match passed.iter().filter(|passed| !passed.is_stored).count() {
        0 | 1 => Ok(passed),
        many => Err(PassedError::TooMany(many)),
    }
}

fn passed(socket: OwnedFd, name: &str) -> Result<Passed, PassedError> {
    let socket = Socket::from(socket);
    let is_stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    match address {
        Some(address)
            if is_stream && rustix::net::sockopt::socket_acceptconn(&socket) == Ok(true) =>
        {
            Ok(Passed { socket, address, is_stored: name == LISTENER })
        }
        _ => Err(PassedError::OtherKind(escape(name.as_bytes()))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_listening_tcp_sockets_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stored = passed(listener.try_clone().unwrap().into(), LISTENER).unwrap();
        assert!(stored.is_stored && stored.address == address);
        assert!(!passed(listener.into(), "lariatd.socket").unwrap().is_stored);
        let directory = tempfile::tempdir().unwrap();
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let others: [OwnedFd; 3] = [
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            UnixListener::bind(directory.path().join("socket")).unwrap().into(),
            std::net::TcpStream::connect(peer.local_addr().unwrap()).unwrap().into(),
        ];
        for other in others {
            let error = passed(other, "a\nname").err().unwrap();
            assert!(
                matches!(&error, PassedError::OtherKind(name) if name == "a\\x0aname"),
                "{error}"
            );
        }
    }
}
