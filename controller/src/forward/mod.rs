//! Ports forwarded through a host.

mod connection;
mod listener;
mod socks;
mod spec;

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;

use lariat_base::name::HostName;
use lariat_client::forward::{Heard, Pool};
use lariat_client::{AskError, Broken, HostHandle, Session};
use lariat_wire::protocol::can::{Can, Verdict};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{ConnectRequest, Request};
use lariat_wire::protocol::session::{Ping, Pong};
use lariat_wire::protocol::verb::Verb;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::connection::Goal;
pub(crate) use self::connection::open;
use self::listener::{Listener, accept};
use self::spec::Here;
pub(crate) use self::spec::{BadSpec, Dynamic, Local, Place, Remote};
use crate::can;
use crate::error::CliError;

/// Most connections at once. More wait to be accepted.
const MOST: usize = 256;

/// Most reports of the host that wait.
const REPORTS: usize = 64;

/// What is to be forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Specs {
    /// `-L`
    pub(crate) local: Vec<Local>,
    /// `-D`
    pub(crate) dynamic: Vec<Dynamic>,
    /// `-R`
    pub(crate) remote: Vec<Remote>,
}

/// Ports that lead through a host.
pub(crate) struct Forwards {
    pool: Rc<Pool>,
    listeners: Vec<Listener>,
    /// Of each listener.
    goals: Vec<(Here, Goal)>,
    remote: Vec<Remote>,
    /// The user who connects to unix sockets of the host.
    user: Option<String>,
}

/// Something that listens.
pub(crate) struct Listening {
    /// The option that it is by, in a word.
    pub(crate) direction: &'static str,
    /// Where it listens.
    pub(crate) listen: String,
    /// Where its connections go; `None` for where each asks.
    pub(crate) to: Option<String>,
}

impl Listening {
    /// In words.
    pub(crate) fn told(&self, host: &HostName) -> String {
        let Self { direction, listen, to } = self;
        match to {
            Some(to) if *direction == "remote" => {
                format!("{listen} on {host} leads to {to} from here")
            }
            Some(to) => format!("{listen} leads to {to} through {host}"),
            None => format!("{listen} is a SOCKS5 proxy through {host}"),
        }
    }
}

impl Specs {
    /// Whether nothing is to be forwarded.
    pub(crate) fn is_empty(&self) -> bool {
        self.local.is_empty() && self.dynamic.is_empty() && self.remote.is_empty()
    }

    fn goals(&self) -> impl Iterator<Item = (Here, Goal)> {
        let local =
            self.local.iter().map(|Local { here, to }| (here.clone(), Goal::Place(to.clone())));
        local.chain(self.dynamic.iter().map(|Dynamic(at)| (Here::Tcp(*at), Goal::Socks)))
    }
}

impl Forwards {
    /// Asks the host whether all of `specs` are permitted, and then listens. If one is not, nothing listens.
    pub(crate) async fn begin(
        handle: HostHandle,
        user: Option<String>,
        specs: &Specs,
    ) -> Result<Self, CliError> {
        ask(&handle, user.as_deref(), specs).await?;
        let (mut listeners, mut goals) = (Vec::new(), Vec::new());
        for (here, goal) in specs.goals() {
            let failed =
                |error: std::io::Error| CliError::from(error).during(format!("listen on {here}"));
            let listener = Listener::bind(&here).await.map_err(failed)?;
            goals.push((listener.place().map_err(failed)?, goal));
            listeners.push(listener);
        }
        let (pool, remote) = (Rc::new(Pool::new(handle)), specs.remote.clone());
        Ok(Self { pool, listeners, goals, remote, user })
    }

    /// All that listens on this machine.
    pub(crate) fn listening(&self) -> impl Iterator<Item = Listening> {
        self.goals.iter().map(|(here, goal)| {
            let (direction, to) = match goal {
                Goal::Place(to) => ("local", Some(to.to_string())),
                Goal::Socks => ("dynamic", None),
            };
            Listening { direction, listen: here.to_string(), to }
        })
    }

    /// Serves connections while `work` goes on, and then, with `drains`, until those that there are have ended. Where the
    /// host listens is told to `told`. Fails when the host is given up. Must be called within a
    /// [`tokio::task::LocalSet`].
    pub(crate) async fn serve<T>(
        &self,
        work: Pin<&mut impl Future<Output = T>>,
        drains: bool,
        told: impl Fn(Listening),
    ) -> Result<T, CliError> {
        let (reports, mut reported) = mpsc::channel(REPORTS);
        let mut listening = JoinSet::new();
        let stop = watch::Sender::new(false);
        for remote in &self.remote {
            let (pool, reports) = (Rc::clone(&self.pool), reports.clone());
            listening.spawn_local(listen(pool, remote.clone(), reports, stop.subscribe()));
        }
        let done = self.work(work, drains, told, &mut listening, &mut reported).await;
        if done.is_ok() {
            stop.send_replace(true);
            while listening.join_next().await.is_some() {}
            self.pool.leave().await;
        }
        done
    }

    async fn work<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = T>>,
        drains: bool,
        told: impl Fn(Listening),
        listening: &mut JoinSet<Result<(), AskError>>,
        reported: &mut mpsc::Receiver<(Place, Heard)>,
    ) -> Result<T, CliError> {
        let mut attended = pin!(self.pool.attend());
        let mut tasks = JoinSet::new();
        let mut done = None;
        loop {
            if (!drains || tasks.is_empty())
                && let Some(done) = done
            {
                return Ok(done);
            }
            let is_open = done.is_none() && tasks.len() < MOST;
            tokio::select! {
                result = &mut work, if done.is_none() => done = Some(result),
                error = &mut attended => return Err(error.into()),
                Some(Ok(Err(error))) = listening.join_next(), if !listening.is_empty() => {
                    return Err(error.into());
                }
                (number, client) = accept(&self.listeners), if is_open => {
                    let (pool, goal) = (Rc::clone(&self.pool), self.goals[number].clone());
                    tasks.spawn_local(connection::serve(pool, client, goal, self.user.clone()));
                }
                Some((to, heard)) = reported.recv(), if is_open => match heard {
                    Heard::Listening(listen) => {
                        told(Listening { direction: "remote", listen, to: Some(to.to_string()) });
                    }
                    Heard::Arrived(take, from) => {
                        let pool = Rc::clone(&self.pool);
                        tasks.spawn_local(connection::take(pool, take, from, to));
                    }
                },
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            }
        }
    }
}

/// Listens on the host, and passes its reports on, with where the connections go. A report that nobody takes is
/// dropped: the host closes a connection that is not taken.
async fn listen(
    pool: Rc<Pool>,
    remote: Remote,
    reports: mpsc::Sender<(Place, Heard)>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), AskError> {
    let mut address = None;
    let heard = |heard: Heard| {
        // After a cut it listens there again.
        let is_known = matches!(&heard, Heard::Listening(at) if address.as_ref() == Some(at));
        if let Heard::Listening(at) = &heard {
            address = Some(at.clone());
        }
        if !is_known {
            let _ = reports.try_send((remote.to.clone(), heard));
        }
    };
    let stop = async {
        // The sender ends with what is served.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    lariat_client::forward::listen(pool.host(), &remote.request(), heard, stop).await
}

/// Asks the host whether this key may do what is to be forwarded.
async fn ask(handle: &HostHandle, user: Option<&str>, specs: &Specs) -> Result<(), CliError> {
    let mut session = None;
    let connections = specs.local.iter().map(|Local { to, .. }| to.request(user));
    let listeners = specs.remote.iter().map(|remote| ConnectRequest::Listen(remote.request()));
    for request in connections.chain(listeners).map(Request::Connect) {
        let verb = request.verb();
        let can = Can { key: None, request: Some(can::frame(&request)?) };
        let sent = Cell::default();
        let (next, verdict) =
            handle.ask_on(session, &can, &sent, Session::answer::<Verdict>).await?;
        session = Some(next);
        let Verdict { allowed, rule, why } = verdict;
        if !allowed {
            return Err(refused(handle, verb, format!("{rule}: {why}")));
        }
    }
    if session.is_none() {
        session = Some(handle.ask(&Ping { nonce: 0 }, Session::answer::<Pong>).await?.0);
    }
    // Where clients of SOCKS will go, nobody knows.
    let may = session.iter().all(|session| session.welcome.verbs.contains(Verb::Connect));
    if let Some(session) = session {
        session.leave().await;
    }
    if !specs.dynamic.is_empty() && !may {
        let rule = "verbs: it has no connect".to_owned();
        return Err(refused(handle, Verb::Connect, rule));
    }
    Ok(())
}

fn refused(handle: &HostHandle, verb: Verb, rule: String) -> CliError {
    let failure = Failure::request(Cause::NotPermitted { verb, rule });
    handle.broken(Broken::Failed(failure)).into()
}
