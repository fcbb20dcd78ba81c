//! One session, on a thread and a runtime of its own while it lasts: serves requests, one at a time, until either end stops.
//!
//! Requests do their work on that thread, including file reads, hashing and TLS, and never block the runtime
//! that accepts. An idle session costs its TLS state, the touched part of its stack and a runtime: about 100
//! KiB.

use std::io;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use lariat_base::clock::{milliseconds, whole_milliseconds};
use lariat_base::name::JobId;
use lariat_wire::auth::agent::{LoggedIn, Said};
use lariat_wire::link::{Link, LinkError, hello_frame};
use lariat_wire::memory::NoMemory;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::hello::{KeyLimits, UnreadNotes};
use lariat_wire::protocol::request::{JobRequest, Request};
use lariat_wire::protocol::session::Goodbye;
use lariat_wire::protocol::verb::Verb;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tracing::{info, warn};

use super::handshake::{Authenticated, Connection};
use super::sessions::Membership;
use super::threads::Threads;
use crate::boxed::boxed;
use crate::budget::Exhausted;
use crate::core::{Again, Agent, Event, Session, decide, refuse};
use crate::keyring::{Entry, Revoked};
use crate::policy::Denial;
use crate::requests;
use crate::transport::BoxStream;
use crate::upgrade::VERSION;

/// How long the peer may take to read the last messages and hang up, when the agent stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long the peer may take otherwise: a sender may have much in flight before it notices.
const LINGER: Duration = Duration::from_secs(10);

/// How long the peer may take to read the welcome.
const WELCOME: Duration = Duration::from_secs(10);

/// How long a request that is no longer permitted may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// When a controller should reconnect after a goodbye: about the time of a restart.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Starts the session on a thread. A panic ends this session only.
pub(super) fn start(
    threads: &Threads,
    arrived: Authenticated,
    session: Session,
    membership: Membership,
) -> io::Result<()> {
    threads.start(Box::new(move |runtime| {
        let _membership = membership;
        let span = session.span.clone();
        span.in_scope(|| run(arrived, &session, runtime));
    }))
}

/// Welcomes a controller for which no session is free, and answers its first request with the reason.
pub(super) async fn send_away(
    arrived: Authenticated,
    agent: &Agent,
    why: Exhausted,
) -> Result<(), LinkError> {
    let Authenticated { connection, login, key, .. } = arrived;
    let farewell = async {
        let mut stream = connection.attach()?;
        stream.write_all(&welcome(&login, &key, agent)).await?;
        let mut link = Link::new(stream);
        refuse(agent, link.outbox(), &why.into())?;
        link.writer.finish().await?;
        // Closing with unread bytes would reset the connection, and the answer might be lost.
        link.drain(FAREWELL).await;
        Ok(())
    };
    timeout(FAREWELL, farewell).await.unwrap_or(Err(LinkError::Silent))
}

fn run(arrived: Authenticated, session: &Session, runtime: &io::Result<Runtime>) {
    // Only a beginning can fail to be reported.
    let _ = Event::LoggedIn.report(session);
    let mut ended = Ended { session, why: Some("it failed".to_owned()) };
    let result = match runtime {
        Ok(runtime) => {
            runtime.block_on(boxed(|| serve(arrived.connection, &arrived.login, session)))
        }
        Err(error) => Err(io::Error::new(error.kind(), error.to_string()).into()),
    };
    ended.why = result.err().map(|error| error.to_string());
}

/// Reports the end of a session when it is dropped, also after a panic.
struct Ended<'a> {
    session: &'a Session,
    why: Option<String>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        // Only a beginning can fail to be reported.
        let _ = Event::LoggedOut { why: self.why.take() }.report(self.session);
    }
}

async fn serve(
    connection: Connection,
    login: &LoggedIn,
    session: &Session,
) -> Result<(), LinkError> {
    let mut stream = connection.attach()?;
    let greet = async {
        stream.write_all(&welcome(login, &session.key, &session.agent)).await?;
        stream.flush().await
    };
    timeout(WELCOME, greet).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
    let mut link = Link::with_memory(stream, 0, session.memory.clone());
    let limit = match requests(&mut link, session).await? {
        End::Stopped => FAREWELL,
        End::ByPeer | End::OutOfMemory => LINGER,
    };
    let _ = timeout(limit, link.writer.finish()).await;
    // Closing with unread bytes would reset the connection, and the last messages might be lost.
    link.drain(limit).await;
    Ok(())
}

/// Why a session serves no more requests although its connection is fine.
enum End {
    ByPeer,
    Stopped,
    OutOfMemory,
}

/// Serves requests until the peer ends the session or the agent asks it to end.
async fn requests(link: &mut Link<BoxStream>, session: &Session) -> Result<End, LinkError> {
    loop {
        let frame = tokio::select! {
            biased;
            () = session.stopped() => None,
            () = session.barred() => None,
            frame = link.next_request() => match frame? {
                Some(frame) => Some(frame),
                None => return Ok(End::ByPeer),
            },
        };
        let Some(frame) = frame else {
            link.outbox().post(&goodbye())?;
            return Ok(End::Stopped);
        };
        let request = frame.map_err(|unknown| unknown.to_string()).and_then(|frame| {
            Request::decode(frame.kind, link.reader.payload()).map_err(|error| error.to_string())
        });
        let served = match request {
            Ok(request) => request_made(link, session, request).await,
            Err(why) => {
                info!("a newer controller's request, or none: {why}");
                let failure = Failure::request(Cause::UnknownRequest(VERSION.to_owned()));
                refuse(&session.agent, link.outbox(), &failure)?;
                link.writer.flush().await
            }
        };
        match served {
            // Nothing can follow a frame that was sent in part.
            Ok(()) if link.writer.is_broken() => return Err(LinkError::Cut),
            Ok(()) => {}
            Err(LinkError::Memory) if !link.writer.is_broken() => {
                refuse(&session.agent, link.outbox(), &NoMemory.into())?;
                link.writer.flush().await?;
                return Ok(End::OutOfMemory);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn request_made(
    link: &mut Link<BoxStream>,
    session: &Session,
    request: Request,
) -> Result<(), LinkError> {
    match decide(session, &request) {
        Ok(permit) => {
            let again = permit.again();
            let job = job_of(&request);
            let serving = requests::serve(link, request, permit, session);
            let (served, denial) = while_permitted(serving, &again, session).await;
            if let Some(denial) = denial {
                if served.is_ok() && !session.is_answered.get() && !link.writer.is_broken() {
                    refuse(&session.agent, link.outbox(), &denial.into())?;
                    // The job is ended whether the controller reads this or not.
                    let _ = timeout(FAREWELL, link.writer.flush()).await;
                }
                if let Some(job) = job {
                    end_job(job, session).await;
                }
            }
            served.inspect_err(|e| info!("{e}"))
        }
        Err(failure) => {
            refuse(&session.agent, link.outbox(), &failure)?;
            link.writer.flush().await
        }
    }
}

/// Serves a request to its end, or until it is no longer permitted. Then it is asked to end, and the denial is
/// returned too.
async fn while_permitted(
    serving: impl Future<Output = Result<(), LinkError>>,
    again: &Again,
    session: &Session,
) -> (Result<(), LinkError>, Option<Denial>) {
    let mut serving = pin!(serving);
    let denial = tokio::select! {
        biased;
        served = &mut serving => return (served, None),
        denial = again.denied(session) => denial,
    };
    session.end_request(Failure::from(denial.clone()).cause);
    let served = timeout(ENDING, serving).await;
    session.request_ended();
    (served.unwrap_or(Err(LinkError::Silent)), Some(denial))
}

/// The job that a request starts or continues.
fn job_of(request: &Request) -> Option<JobId> {
    match request {
        Request::Job(JobRequest::Run(run)) => Some(run.job),
        Request::Job(JobRequest::Attach(attach)) => Some(attach.job),
        Request::Job(JobRequest::List(_) | JobRequest::Logs(_) | JobRequest::Kill(_))
        | Request::File(_)
        | Request::Audit(_)
        | Request::Key(_)
        | Request::Certificate(_)
        | Request::Agent(_)
        | Request::Sight(_)
        | Request::Connect(_)
        | Request::Rule(_) => None,
    }
}

async fn end_job(job: JobId, session: &Session) {
    let revoked = Revoked::load(&session.agent.state);
    if revoked.is_ok_and(|revoked| revoked.keeps_jobs(session.owner())) {
        return;
    }
    if let Err(error) = session.agent.jobs.end(session.job(job)).await {
        warn!("job {job}, which is no longer permitted, can't be ended: {error}");
    }
}

fn welcome(login: &LoggedIn, key: &Entry, agent: &Agent) -> Vec<u8> {
    let limit = |limit: Option<usize>| limit.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let may_read = key.verbs.contains(Verb::Status);
    let unread = if may_read { agent.notes.unread(key.owner) } else { 0 };
    let said = Said {
        boot: agent.boot,
        time_ms: milliseconds(SystemTime::now()),
        verbs: *key.verbs,
        limits: KeyLimits { sessions: limit(key.max_sessions), jobs: limit(key.max_jobs) },
        audit: agent.audit.head(),
        notes: UnreadNotes {
            count: u32::try_from(unread).unwrap_or(u32::MAX),
            ..UnreadNotes::default()
        },
    };
    hello_frame(Kind::Welcome, &login.welcome(said))
}

fn goodbye() -> Goodbye {
    Goodbye { retry_after_ms: whole_milliseconds(RETRY_AFTER) }
}
