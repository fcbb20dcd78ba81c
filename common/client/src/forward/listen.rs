//! Listens on a host, and comes back after a cut.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use lariat_wire::link::LinkError;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::listen::{Arrived, Listen, Listening, Take};
use rustix::io::Errno;
use tokio::time::timeout;

use super::pool::is_full;
use crate::backoff::is_broken_connection;
use crate::broken::Broken;
use crate::connect::Session;
use crate::host::HostHandle;
use crate::retry::{AskError, Retry};

/// How long the agent may take to listen: it may have to end an earlier listener first.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection that has lasted this long was a useful one.
const USEFUL: Duration = Duration::from_secs(10);

/// What a host that listens reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It listens at this address.
    Listening(String),
    /// A connection has arrived from this address. It is opened by [`Take`].
    Arrived(Take, String),
}

/// Listens on the host until `stop`, or until the host is given up, and reports to `heard`.
pub async fn listen(
    host: &HostHandle,
    at: &Listen,
    mut heard: impl FnMut(Heard),
    stop: impl Future<Output = ()>,
) -> Result<(), AskError> {
    let mut retry = Retry::new(host);
    let mut stop = pin!(stop);
    let mut wanted = at.clone();
    loop {
        let asked = tokio::select! {
            () = &mut stop => return Ok(()),
            asked = retry.ask_again(&wanted) => asked,
        };
        let mut session = asked?;
        let since = Instant::now();
        let broken = tokio::select! {
            () = &mut stop => {
                session.leave().await;
                return Ok(());
            }
            broken = reports(&mut session, &mut wanted, &mut heard) => broken,
        };
        if is_taken(&broken) && wanted != *at {
            // Another program has the port that the host picked before.
            wanted.port = at.port;
            continue;
        }
        let is_passing = match &broken {
            Broken::Link(error) => is_broken_connection(error),
            // Sessions whose connection broke may count still, and an agent that stops may be restarted.
            Broken::Failed(failure) => is_full(failure) || failure.cause == Cause::Stopping,
        };
        if !is_passing || !retry.broke(since.elapsed() > USEFUL).await {
            return Err(host.broken(broken));
        }
    }
}

/// Whether another program listens there.
fn is_taken(broken: &Broken) -> bool {
    let number = Errno::ADDRINUSE.raw_os_error();
    matches!(broken, Broken::Failed(failure) if failure.cause == Cause::Os(number))
}

/// Passes on what the host reports, until that ends. Where it listens becomes what is `wanted`.
async fn reports(
    session: &mut Session,
    wanted: &mut Listen,
    heard: &mut impl FnMut(Heard),
) -> Broken {
    let answer = timeout(ANSWER, session.answer::<Listening>()).await;
    let listener = match answer.unwrap_or(Err(LinkError::Silent.into())) {
        Ok(Listening { listener, address }) => {
            // Where the host has picked a port, it listens there again after a cut.
            if let Ok(address) = address.parse::<SocketAddr>() {
                wanted.port = address.port();
            }
            heard(Heard::Listening(address));
            listener
        }
        Err(broken) => return broken,
    };
    loop {
        match session.answer::<Arrived>().await {
            Ok(Arrived { connection, from }) => {
                heard(Heard::Arrived(Take { listener, connection }, from));
            }
            Err(broken) => return broken,
        }
    }
}
