//! Decides on a request, once, with the current keyring.
//!
//! A request can be served only with a [`Permit`], which names the user to act as and takes the outcome. So
//! the beginning and the end of every request are reported here.

use std::time::SystemTime;

use lariat_wire::link::{LinkError, Outbox};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{FileRequest, JobRequest, Request};
use lariat_wire::protocol::session::Finished;
use lariat_wire::protocol::verb::Verb;

use super::agent::Agent;
use super::event::{Event, Outcome, Subject};
use super::session::Session;
use crate::policy;
use crate::user::{Credentials, User};

/// The user that a request is served as.
#[derive(Clone, Debug)]
pub enum ActAs {
    /// The agent's own user.
    Agent(User),
    /// Another user, with that user's credentials.
    Other(User, Credentials),
}

impl ActAs {
    /// The user.
    pub fn user(&self) -> &User {
        match self {
            Self::Agent(user) | Self::Other(user, _) => user,
        }
    }
}

/// The permission to serve one request. Dropping it without [`Permit::finish`] reports the request as
/// abandoned.
#[must_use = "a request that was begun is finished"]
pub struct Permit<'a> {
    session: &'a Session,
    verb: Verb,
    subject: Subject,
    act_as: ActAs,
    is_finished: bool,
}

/// Decides on a request of this session, and reports its beginning if it is permitted.
pub fn decide<'a>(session: &'a Session, request: &Request) -> Result<Permit<'a>, Failure> {
    let (verb, subject) = (request.verb(), Subject::of(request));
    match permitted(session, request) {
        Ok(act_as) => {
            Event::Began { verb, subject: &subject }.tell();
            Ok(Permit { session, verb, subject, act_as, is_finished: false })
        }
        Err(failure) => {
            Event::Refused { verb, subject: &subject, failure: &failure }.tell();
            Err(failure)
        }
    }
}

fn permitted(session: &Session, request: &Request) -> Result<ActAs, Failure> {
    request.check()?;
    let key = session.present_key();
    let key = key.ok_or_else(|| Failure::not_permitted(request.verb()))?;
    policy::decide(&key, request, &session.agent.user, SystemTime::now())?;
    session.charge(buffers(request))?;
    act_as(&session.agent.user, request.user())
}

/// Looks up the user to act as, once for each request. May query a directory service.
fn act_as(own: &User, name: Option<&str>) -> Result<ActAs, Failure> {
    let Some(name) = name else { return Ok(ActAs::Agent(own.clone())) };
    let failed = |error: std::io::Error| {
        Failure::request(error.raw_os_error().map_or(Cause::Internal, Cause::Os))
    };
    let user = User::named(name).map_err(failed)?;
    let user = user.ok_or_else(|| Failure::request(Cause::NoSuchUser(name.to_owned())))?;
    if user.uid == own.uid {
        return Ok(ActAs::Agent(user));
    }
    if own.uid != 0 {
        let own = own.name();
        let why =
            format!("this agent runs as {own}, and only one that runs as root can act as {name}");
        return Err(Failure::request(Cause::BadRequest(why)));
    }
    let credentials = user.credentials().map_err(failed)?;
    Ok(ActAs::Other(user, credentials))
}

/// Ends a request that was not permitted: posts the failure and the request's `Finished`.
pub fn refuse(agent: &Agent, outbox: &Outbox, failure: &Failure) -> Result<(), LinkError> {
    outbox.post(failure)?;
    finished(agent, outbox)
}

fn finished(agent: &Agent, outbox: &Outbox) -> Result<(), LinkError> {
    outbox.post(&Finished { audit: agent.audit_head() })
}

/// Bytes that a request takes whatever its content: its buffers, those of TLS, and those of its threads. What
/// grows with what the controller sends is charged where it is kept.
fn buffers(request: &Request) -> usize {
    const KIB: usize = 1024;
    match request {
        Request::Job(JobRequest::Kill(_)) => 0,
        Request::Job(_) => 768 * KIB,
        Request::File(request) => 3072 * KIB + FileRequest::memory(request),
    }
}

impl Permit<'_> {
    /// The user that the request is served as.
    pub fn act_as(&self) -> &ActAs {
        &self.act_as
    }

    /// Ends the request: reports the outcome, and posts the failure, if any, and the request's `Finished`.
    pub fn finish(mut self, outbox: &Outbox, outcome: &Outcome) -> Result<(), LinkError> {
        self.is_finished = true;
        self.tell(outcome);
        match outcome {
            Outcome::Failed(failure) => refuse(&self.session.agent, outbox, failure),
            _ => finished(&self.session.agent, outbox),
        }
    }

    fn tell(&self, outcome: &Outcome) {
        Event::Finished { verb: self.verb, subject: &self.subject, outcome }.tell();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.tell(&Outcome::Abandoned);
        }
    }
}
