//! One connection that was accepted on this machine: opened from the host, and carried to its end.

use std::rc::Rc;
use std::time::Duration;

use lariat_client::forward::{Opened, Pool};
use lariat_client::{AskError, BoxStream, Broken};
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::listen::Take;
use rustix::io::Errno;
use tokio::io::split;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::socks::{self, Reply};
use super::spec::{Here, Place};
use crate::error::CliError;
use crate::output;

/// How long a client of SOCKS may take to say what it wants.
const ASKING: Duration = Duration::from_secs(30);

/// How long a connection that has arrived at the host may take to come to its place here.
const CONNECTING: Duration = Duration::from_secs(60);

/// Where the connections of a listener go.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    Place(Place),
    /// Where each client asks.
    Socks,
}

/// Opens a connection from the host.
pub(crate) async fn open(pool: &Pool, to: &Place, user: Option<&str>) -> Result<Opened, AskError> {
    match to {
        Place::Tcp { host, port } => pool.open(&Place::connect(host, *port)).await,
        Place::Unix(path) => pool.open(&Place::connect_unix(path, user)).await,
    }
}

/// Serves a connection that was accepted at `here`. What fails is told, and ends this connection alone.
pub(super) async fn serve(
    pool: Rc<Pool>,
    mut client: BoxStream,
    (here, goal): (Here, Goal),
    user: Option<String>,
) {
    let (to, by_socks) = match goal {
        Goal::Place(place) => (place, false),
        Goal::Socks => match timeout(ASKING, socks::asked(&mut client)).await {
            Ok(Ok(place)) => (place, true),
            Ok(Err(socks::BadClient::Io(_))) | Err(_) => return,
            Ok(Err(bad)) => return output::note(&format!("{here}: a client: {bad}")),
        },
    };
    let opened = open(&pool, &to, user.as_deref()).await;
    let reply = opened.as_ref().map_or_else(reply, |_| Reply::Connected);
    if by_socks && socks::reply(&mut client, reply).await.is_err() {
        return;
    }
    match opened {
        // How it ends is the business of its two ends.
        Ok(opened) => drop(pool.carry(opened, split(client)).await),
        Err(error) => output::note(&CliError::from(error).during(format!("{here} to {to}")).line()),
    }
}

/// Serves a connection that has arrived at the host: it goes to a place that this machine reaches.
pub(super) async fn take(pool: Rc<Pool>, take: Take, from: String, to: Place) {
    let connected = async {
        // A connection that leads nowhere is taken all the same, so that it is closed.
        let (opened, local) = tokio::join!(pool.open(&take), connect(&to));
        let opened = opened.map_err(CliError::from)?;
        let local =
            local.map_err(|error| CliError::from(error).during(format!("connect to {to}")))?;
        Ok::<_, CliError>((opened, local))
    };
    match timeout(CONNECTING, connected).await {
        Ok(Ok((opened, local))) => drop(pool.carry(opened, split(local)).await),
        Ok(Err(error)) => output::note(&error.during(format!("{from} to {to}")).line()),
        Err(_) => output::note(&format!("{from} to {to}: no answer")),
    }
}

async fn connect(to: &Place) -> std::io::Result<BoxStream> {
    Ok(match to {
        Place::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            let _ = stream.set_nodelay(true);
            Box::new(stream)
        }
        Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

/// What a client of SOCKS is told of a failure.
fn reply(error: &AskError) -> Reply {
    let AskError::Broken { error: Broken::Failed(failure), .. } = error else {
        return Reply::HostUnreachable;
    };
    match &failure.cause {
        Cause::NotPermitted { .. } | Cause::NotAsUser(_) => Reply::NotPermitted,
        Cause::BadRequest(_) => Reply::HostUnreachable,
        Cause::Os(number) => match Errno::from_raw_os_error(*number) {
            Errno::CONNREFUSED => Reply::Refused,
            Errno::NETUNREACH => Reply::NetworkUnreachable,
            Errno::HOSTUNREACH | Errno::TIMEDOUT => Reply::HostUnreachable,
            _ => Reply::Failed,
        },
        _ => Reply::Failed,
    }
}
