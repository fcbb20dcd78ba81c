//! One logged-in connection, on a thread and a runtime of its own: requests, one at a time, until
//! either end goes.
//!
//! What a request does runs inline on that thread, file reading, hashing and TLS included, and never
//! holds up the runtime that accepts. Idle, a session costs its TLS state, the touched part of its
//! stack, and a runtime: about 100 KiB.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::escape::escape;
use lariat_base::name::{BootId, SessionId};
use lariat_wire::auth::agent::LoggedIn;
use lariat_wire::link::{Frame, Link, LinkError, hello_frame, message_frame};
use lariat_wire::memory::{Charge, Memory, NoMemory};
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::request::{BadRequest, Goodbye, Request};
use lariat_wire::tls::Channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Span, info, warn};

use crate::budget::{Budget, Exhausted, Holder};
use crate::config::Config;
use crate::handshake::Authenticated;
use crate::job_shares::JobShares;
use crate::jobs::Jobs;
use crate::keyring::Entry;
use crate::sessions::Membership;
use crate::socket::Socket;
use crate::transfers::Transfers;
use crate::user::User;
use crate::{policy, requests};

/// A session's connection, as requests get it.
pub type SessionLink = Link<Channel<Socket>>;

/// Stack of a session's thread, in bytes. Only what is touched of it takes memory.
const STACK: usize = 1024 * 1024;

/// How long the peer may take to read our last words and hang up, when the agent stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// The same when it does not: a sender may have much under way before it hears that we failed.
const LINGER: Duration = Duration::from_secs(10);

/// How long the peer may take to read the welcome.
const WELCOME: Duration = Duration::from_secs(10);

/// When a controller that is sent away should come back: the time of a restart.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What all sessions of an agent have in common.
pub struct Shared {
    /// The host's boot.
    pub boot: BootId,
    /// The agent's configuration.
    pub config: Config,
    /// The user whose files are written and whose commands are run.
    pub user: User,
    /// The jobs, those of earlier runs of the agent included.
    pub jobs: Jobs,
    /// What they take of the budget.
    pub job_shares: JobShares,
    /// The transfers that are under way.
    pub transfers: Transfers,
    /// What each key may take.
    pub budget: Budget,
    /// Bytes of output that the detached jobs of an owner keep; other keys' keep half.
    pub output: u64,
}

/// What a request may know of the session that it came by.
pub struct Session {
    /// Names the session in both ends' logs.
    pub id: SessionId,
    /// The key that logged in: its id, its label, its permissions.
    pub key: Arc<Entry>,
    /// Where the controller is.
    pub peer: SocketAddr,
    /// What it has in common with every other session.
    pub agent: Arc<Shared>,
    /// Becomes true when the session is to end soon, because the agent stops or the key was revoked.
    pub stop: watch::Receiver<bool>,
    /// Who the key is to the budget.
    pub holder: Holder,
    /// What the key's requests may keep.
    pub memory: Memory,
    /// For what the session's own buffers have become by its requests.
    buffers: RefCell<Charge>,
    /// Every line that is logged on the session's thread is in it.
    pub span: Span,
}

/// Why a session ended before its peer ended it.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the peer misbehaved: {0}")]
    Request(#[from] BadRequest),
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Link(error.into())
    }
}

impl Session {
    /// A session for somebody who has logged in.
    pub fn new(
        arrived: &Authenticated,
        peer: SocketAddr,
        agent: &Arc<Shared>,
        membership: &Membership,
    ) -> Self {
        let (id, key) = (arrived.login.session, Arc::clone(&arrived.key));
        let label = escape(key.label.as_bytes());
        let span = tracing::info_span!("session", %id, key = %label, %peer);
        let holder = Holder::of(&key);
        let memory = agent.budget.memory(holder);
        let buffers = RefCell::new(memory.charge());
        let (agent, stop) = (Arc::clone(agent), membership.stop());
        Self { id, key, peer, agent, stop, holder, memory, buffers, span }
    }

    /// Counts what this request needs, for as long as the session is there: its buffers stay.
    fn charge(&self, request: &Request) -> Result<(), Failure> {
        Ok(self.buffers.borrow_mut().at_least(memory_of(request))?)
    }

    /// Whether the session is to end.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the session is to end. Cancelling it loses nothing.
    pub async fn stopped(&self) {
        if self.stop.clone().wait_for(|&stop| stop).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }
}

/// Starts the session's thread. A panic ends the thread, and with it the session, and nothing else.
pub fn start(arrived: Authenticated, session: Session, membership: Membership) -> io::Result<()> {
    let work = move || {
        let _membership = membership;
        let span = session.span.clone();
        span.in_scope(|| run(arrived, &session));
    };
    std::thread::Builder::new().name("session".into()).stack_size(STACK).spawn(work).map(|_| ())
}

/// Welcomes somebody for whom there is no place, and says why, in answer to the request that came along.
pub async fn send_away(
    mut arrived: Authenticated,
    boot: BootId,
    why: Exhausted,
) -> Result<(), LinkError> {
    let channel = &mut arrived.channel;
    let farewell = async {
        channel.get_mut().attach()?;
        channel.write_all(&welcome(&arrived.login, &arrived.key, boot)).await?;
        channel.write_all(&message_frame(&Failure::from(why))?).await?;
        channel.shutdown().await?;
        // What is left unread would reset the connection, and our words could be lost with it.
        let mut buffer = [0; 1024];
        while channel.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    timeout(FAREWELL, farewell).await.unwrap_or(Err(LinkError::Silent))
}

fn run(arrived: Authenticated, session: &Session) {
    info!("logged in");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(serve(arrived, session)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => info!("ended"),
        Err(error) => info!("ended: {error}"),
    }
}

async fn serve(arrived: Authenticated, session: &Session) -> Result<(), SessionError> {
    let Authenticated { mut channel, login, key } = arrived;
    channel.get_mut().attach()?;
    let greet = async {
        channel.write_all(&welcome(&login, &key, session.agent.boot)).await?;
        channel.flush().await
    };
    timeout(WELCOME, greet).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
    let mut link = Link::with_memory(channel, session.memory.clone());
    let end = match requests(&mut link, session).await {
        Err(SessionError::Link(LinkError::Memory)) if !link.writer.is_broken() => {
            link.send(&Failure::from(NoMemory)).await?;
            End::Failed
        }
        end => end?,
    };
    let limit = match end {
        End::Stopped => FAREWELL,
        End::ByPeer | End::Failed => LINGER,
    };
    let _ = timeout(limit, link.writer.finish()).await;
    // Our last words can be lost if the connection is reset because something was left unread.
    link.drain(limit).await;
    Ok(())
}

/// Why there are no more requests, when nothing was wrong with the connection.
enum End {
    ByPeer,
    Stopped,
    /// A request failed in such a way that what follows it can't be understood.
    Failed,
}

/// Requests until the peer ends the session, or it is to end.
async fn requests(link: &mut SessionLink, session: &Session) -> Result<End, SessionError> {
    let mut served = false;
    loop {
        let frame = tokio::select! {
            biased;
            () = session.stopped() => None,
            frame = link.next() => match frame? {
                Some(frame) => Some(frame),
                None => return Ok(End::ByPeer),
            },
        };
        let Some(Frame { kind, .. }) = frame else {
            link.outbox().post(&goodbye())?;
            return Ok(End::Stopped);
        };
        if served && may_be_late(kind) {
            continue;
        }
        let request = Request::decode(kind, link.reader.payload())?;
        if request_made(link, session, request).await?.is_break() {
            return Ok(End::Failed);
        }
        served = true;
    }
}

async fn request_made(
    link: &mut SessionLink,
    session: &Session,
    request: Request,
) -> Result<ControlFlow<()>, LinkError> {
    let verb = request.verb();
    if let Err(failure) =
        policy::decide(&session.key, &request, &session.agent.user, SystemTime::now())
    {
        warn!("{verb}: {failure}");
        link.send(&failure).await?;
        return Ok(ControlFlow::Continue(()));
    }
    if let Err(failure) = session.charge(&request) {
        warn!("{verb}: {failure}");
        link.send(&failure).await?;
        return Ok(ControlFlow::Continue(()));
    }
    requests::serve(link, request, session).await.inspect_err(|error| info!("{verb}: {error}"))
}

/// Whether a frame may belong to a request that was over before its peer knew.
fn may_be_late(kind: Kind) -> bool {
    match kind {
        Kind::Ack
        | Kind::Stdin
        | Kind::StdinEnd
        | Kind::Signal
        | Kind::Release
        | Kind::Resize
        | Kind::Failed
        | Kind::Offer
        | Kind::Have
        | Kind::Chunk
        | Kind::Hashes
        | Kind::Complete
        | Kind::Done
        | Kind::Pieces
        | Kind::Copies
        | Kind::Literal
        | Kind::Entries
        | Kind::Answers
        | Kind::Pack
        | Kind::Begin
        | Kind::Missed
        | Kind::End => true,
        Kind::Challenge
        | Kind::Login
        | Kind::Welcome
        | Kind::Denied
        | Kind::Ping
        | Kind::Pong
        | Kind::Goodbye
        | Kind::Clean
        | Kind::Cleaned
        | Kind::Run
        | Kind::Started
        | Kind::Stdout
        | Kind::Stderr
        | Kind::StdinTaken
        | Kind::Exit
        | Kind::Attach
        | Kind::List
        | Kind::Listed
        | Kind::Logs
        | Kind::Reading
        | Kind::LogsEnd
        | Kind::Kill
        | Kind::Killed
        | Kind::Push
        | Kind::PushTree
        | Kind::Pull
        | Kind::Root
        | Kind::Changes
        | Kind::Settled => false,
    }
}

/// Bytes that a request takes whatever is in it: its buffers and TLS's, and those of its threads. What
/// grows with what the controller says is counted where it is kept.
fn memory_of(request: &Request) -> usize {
    const KIB: usize = 1024;
    match request {
        Request::Kill(_) => 0,
        Request::Run(_) | Request::Attach(_) | Request::List(_) | Request::Logs(_) => 768 * KIB,
        Request::File(request) => 3072 * KIB + request.memory(),
    }
}

fn welcome(login: &LoggedIn, key: &Entry, boot: BootId) -> Vec<u8> {
    // A clock that shows a time before 1970 is told as 1970.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let payload = login.welcome(boot, u64::try_from(now).unwrap_or(u64::MAX), key.grant);
    hello_frame(Kind::Welcome, &payload)
}

fn goodbye() -> Goodbye {
    Goodbye { retry_after_ms: u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX) }
}
