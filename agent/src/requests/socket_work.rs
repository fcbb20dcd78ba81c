//! A connection to a unix socket, in the process that has the rights for it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lariat_base::escape::escape;
use lariat_engine::confined::named;
use lariat_wire::link::{Link, LinkError};
use lariat_wire::protocol::connect::Connected;
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use rustix::fs::OFlags;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::piped::framed;
use crate::core::Outcome;

/// Connects to a unix socket with this process's rights, and carries bytes until both directions have ended, or until
/// `stopped`. Nothing below `state` is connected to: the agent's own sockets would let a key act as the agent.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    path: &[u8],
    state: Option<&Path>,
    stopped: impl Future<Output = Outcome>,
) -> Result<Outcome, LinkError> {
    let stream = match connect(path, state).await {
        Ok(stream) => stream,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let address = escape(path);
    link.send(&Connected { address: address.clone() }).await?;
    framed(link, stream, &address, stopped).await
}

/// Connects to what the path leads to now, which is looked at before.
async fn connect(path: &[u8], state: Option<&Path>) -> Result<UnixStream, Failure> {
    let failed = |error: io::Error| Failure::io(Action::Connect, path, &error);
    let opened = named::open(Path::new(OsStr::from_bytes(path)), OFlags::PATH).map_err(failed)?;
    let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
    if let Some(state) = state {
        let real = std::fs::read_link(&link).map_err(failed)?;
        if real.starts_with(state.canonicalize().map_err(failed)?) {
            let why = format!("{} is the agent's own socket", escape(path));
            return Err(Failure::request(Cause::BadRequest(why)));
        }
    }
    // By its descriptor, so that it is the one that was looked at.
    UnixStream::connect(&link).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_path_leads_to_its_socket_and_never_to_one_of_the_agents() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("state")).unwrap();
        let _own = UnixListener::bind(at("state/agent.sock")).unwrap();
        let _other = UnixListener::bind(at("other.sock")).unwrap();
        symlink(at("state/agent.sock"), at("link")).unwrap();
        symlink("state", at("directory")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        let said = async |name: &str| {
            let path = at(name);
            let state = at("directory");
            let connected = connect(path.as_os_str().as_bytes(), Some(&state)).await;
            connected.map(|_| ()).map_err(|failure| failure.to_string())
        };
        assert_eq!(said("other.sock").await, Ok(()));
        for own in ["state/agent.sock", "link", "directory/agent.sock", "state/../link"] {
            assert!(said(own).await.unwrap_err().ends_with("is the agent's own socket"), "{own}");
        }
        assert!(said("file").await.unwrap_err().ends_with("connection refused"));
        assert!(said("nothing").await.unwrap_err().ends_with("no such file or directory"));
    }
}
