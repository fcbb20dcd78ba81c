//! Connections from this host, over a unix socket in the agent's state directory.
//!
//! The kernel tells who connects, so there is neither TLS nor a login. Only the socket's owner can connect,
//! and only root and the agent's own user are served, so that the socket gives no process rights that it does
//! not have.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use super::{Arrival, Movable, Origin};

/// The socket's name in the state directory.
const NAME: &str = "agent.sock";

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Where an agent with this state directory listens for connections from its host.
pub(crate) fn local_socket(state: &Path) -> PathBuf {
    state.join(NAME)
}

/// Listens on a unix socket that no other user can connect to. Replaces one that an earlier agent left behind.
pub(crate) fn bind_private(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // bind(2) gives the file the mode of the socket's inode, so no other user can ever connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // A socket's path is limited to 108 bytes; the path of an open directory always fits.
    let directory = std::fs::File::open(parent)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    rustix::net::bind(&socket, &SocketAddrUnix::new(short)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections from this host. Dropping it removes the socket.
pub struct LocalListener {
    socket: UnixListener,
    path: PathBuf,
}

impl LocalListener {
    /// Listens in this state directory. Replaces a socket that an earlier agent left behind. Must be called
    /// within a runtime.
    pub fn bind(state: &Path) -> io::Result<Self> {
        let path = local_socket(state);
        let socket = UnixListener::from_std(bind_private(&path)?)?;
        Ok(Self { socket, path })
    }

    /// The next connection of root or of the agent's own user. Other users' are closed. Cancel-safe.
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
        // A socket that stays is replaced by the next agent.
        let _ = std::fs::remove_file(&self.path);
    }
}
