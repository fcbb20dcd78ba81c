//! From a request to the leave to do it: decided once, with the keyring of that moment.
//!
//! A request is done with a [`Permit`] and no other way. The permit says as whom, and takes how it ended:
//! begin and end are told once, here, whatever the request is.

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

/// As whom a request is done.
#[derive(Clone, Debug)]
pub enum ActAs {
    /// As the agent's own user.
    Agent(User),
    /// As another one, whose credentials these are.
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

/// The leave to do one request. Whoever drops it without [`Permit::finish`] tells that the request was
/// abandoned.
#[must_use = "a request that was begun is finished"]
pub struct Permit<'a> {
    session: &'a Session,
    verb: Verb,
    subject: Subject,
    act_as: ActAs,
    is_finished: bool,
}

/// Decides about a request of this session, and begins it if it is permitted.
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

/// Looks the user up, once for a request. May ask a directory service.
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

/// Ends a request that was not permitted: posts why, and that the agent says no more of it.
pub fn refuse(agent: &Agent, outbox: &Outbox, failure: &Failure) -> Result<(), LinkError> {
    outbox.post(failure)?;
    finished(agent, outbox)
}

fn finished(agent: &Agent, outbox: &Outbox) -> Result<(), LinkError> {
    outbox.post(&Finished { audit: agent.audit_head() })
}

/// Bytes that a request takes whatever is in it: its buffers and TLS's, and those of its threads. What grows
/// with what the controller says is counted where it is kept.
fn buffers(request: &Request) -> usize {
    const KIB: usize = 1024;
    match request {
        Request::Job(JobRequest::Kill(_)) => 0,
        Request::Job(_) => 768 * KIB,
        Request::File(request) => 3072 * KIB + FileRequest::memory(request),
    }
}

impl Permit<'_> {
    /// As whom the request is done.
    pub fn act_as(&self) -> &ActAs {
        &self.act_as
    }

    /// Ends the request: tells the controller of a failure of this end, and that the agent says no more.
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
