//! Connects to the agent's socket on this machine. The kernel identifies the client, so there is no TLS, no
//! login and no key.
//!
//! The agent sends its welcome at once, and the first request goes out without waiting for it.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::hello::Welcome;
use rustix::fs::{Mode, OFlags};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::{Cause, ConnectError, Stage};
use super::first::First;
use super::login::hello;
use super::session::Session;
use crate::dial::DialError;

/// Connects to the agent's socket within `limit` and sends it `first`. Updates `stage` during the attempt.
pub(crate) async fn connect(
    host: &HostName,
    socket: &Path,
    first: &dyn First,
    limit: Duration,
    stage: &Cell<Stage>,
) -> Result<Session, ConnectError> {
    stage.set(Stage::Connect);
    let result = match timeout(limit, attempt(socket, first, stage)).await {
        Ok(result) => result,
        Err(_) => Err(Cause::Timeout { stage: stage.get(), limit }),
    };
    result.map_err(|cause| ConnectError {
        host: host.clone(),
        via: None,
        place: socket.display().to_string(),
        stage: stage.get(),
        cause: Box::new(cause),
        lost: None,
    })
}

async fn attempt(socket: &Path, first: &dyn First, stage: &Cell<Stage>) -> Result<Session, Cause> {
    let request = first.frame().map_err(|e| Cause::from_link(e, Stage::Connect))?;
    let mut stream = open(socket).await.map_err(DialError::Socket)?;
    stage.set(Stage::Answer);
    let sent = stream.write_all(&request).await;
    sent.map_err(|error| Cause::from_link(error.into(), Stage::Answer))?;
    let (_, payload) = hello(&mut stream, Kind::Welcome, Stage::Answer).await?;
    let welcome = Welcome::decode(&payload).map_err(|bad| Cause::Login(bad.into()))?;
    Ok(Session::new(Box::new(stream), welcome, Some(first.kind())))
}

/// Connects to a socket whose path may be too long for a socket address.
async fn open(socket: &Path) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await
}

#[cfg(test)]
mod tests {
    use lariat_wire::link::{Link, hello_frame};
    use lariat_wire::protocol::hello::{KeyLimits, UnreadNotes};
    use lariat_wire::protocol::session::{Ping, Pong};
    use tokio::net::UnixListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn welcome() -> Welcome {
        Welcome {
            proof: [0; 32],
            session: lariat_base::name::SessionId([1; 16]),
            boot: lariat_base::name::BootId([3; 16]),
            time_ms: 1,
            features: 0,
            verbs: lariat_wire::protocol::verb::Verbs::all(),
            limits: KeyLimits::default(),
            audit: lariat_wire::protocol::audit::AuditHead::default(),
            notes: UnreadNotes::default(),
        }
    }

    async fn ask(socket: &Path) -> Result<Session, ConnectError> {
        let stage = Cell::new(Stage::Connect);
        connect(&"web1".parse().unwrap(), socket, &Ping { nonce: 5 }, LIMIT, &stage).await
    }

    #[tokio::test]
    async fn the_first_request_does_not_wait_for_the_welcome() {
        let directory = tempfile::tempdir().unwrap();
        // Too long for a socket address.
        let deep = directory.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::fs::rename(&path, deep.join("agent.sock")).unwrap();
        let path = deep.join("agent.sock");
        let agent = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 16];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
            stream.write_all(&hello_frame(Kind::Welcome, &welcome().encode())).await.unwrap();
            let mut link = Link::with_memory(stream, 0, lariat_wire::memory::Memory::default());
            link.send(&Pong { nonce: 5 }).await.unwrap();
            link
        };
        let (session, _link) = tokio::join!(ask(&path), agent);
        let mut session = session.unwrap();
        assert_eq!(session.welcome, welcome());
        assert_eq!(session.link.expect::<Pong>().await.unwrap(), Pong { nonce: 5 });
    }

    #[tokio::test]
    async fn an_agent_that_does_not_listen_is_named_with_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let told = |error: Option<ConnectError>| {
            error.unwrap().to_string().replace(&path.display().to_string(), "SOCKET")
        };
        let missing = told(ask(&path).await.err());
        insta::assert_snapshot!(missing, @"web1 (SOCKET): connect: no such file or directory; is lariatd running, with local = [...] in its agent.toml?");
        drop(UnixListener::bind(&path).unwrap());
        let dead = told(ask(&path).await.err());
        insta::assert_snapshot!(dead, @"web1 (SOCKET): connect: connection refused; is lariatd running, with local = [...] in its agent.toml?");
    }
}
