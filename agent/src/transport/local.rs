//! Connections from the host itself, over a unix socket in the agent's state directory.
//!
//! The kernel says who connects, so there is no TLS and no login. The socket is its owner's alone, and only
//! root and the agent's own user are served: nobody gets rights by it that they do not have.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use super::{Arrival, Movable, Origin};

/// The socket's name in the state directory.
const NAME: &str = "agent.sock";

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Takes connections from the host itself. The socket goes when this is dropped.
pub struct LocalListener {
    socket: UnixListener,
    path: PathBuf,
}

impl LocalListener {
    /// Listens in this state directory, in the place of an agent that ended without removing its socket. Must be
    /// called inside a runtime.
    pub fn bind(state: &Path) -> io::Result<Self> {
        let path = state.join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // From the first instant on it is nobody else's: the mode is that of the socket's own inode.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        // A socket's path may not be long; that of an open directory never is.
        let directory = std::fs::File::open(state)?;
        let short = format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd());
        rustix::net::bind(&socket, &SocketAddrUnix::new(short)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let socket = UnixListener::from_std(socket.into())?;
        Ok(Self { socket, path })
    }

    /// The next connection of root or the agent's own user. Cancelling it loses nothing.
    pub async fn accept(&self) -> io::Result<Arrival> {
        loop {
            let (stream, _) = self.socket.accept().await?;
            let peer = stream.peer_cred()?;
            let own = rustix::process::geteuid().as_raw();
            if peer.uid() == 0 || peer.uid() == own {
                let origin = Origin::Local { uid: peer.uid(), pid: peer.pid() };
                return Ok(Arrival { stream: Movable::Unix(stream), origin });
            }
        }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // One that stays is taken over by the next agent.
        let _ = std::fs::remove_file(&self.path);
    }
}
