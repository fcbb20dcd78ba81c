//! Decides on a request, once, with the current keyring.
//!
//! A request can be served only with a [`Permit`], which names the user to act as and takes the outcome. So
//! the beginning and the end of every request are reported here.

use std::sync::Arc;
use std::time::Instant;

use lariat_wire::link::{LinkError, Outbox};
use lariat_wire::protocol::connect::Connect;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::request::{
    AgentRequest, ConnectRequest, FileRequest, JobRequest, Request, RuleRequest,
};
use lariat_wire::protocol::session::Finished;
use lariat_wire::protocol::verb::Verb;

use super::act_as::ActAs;
use super::activity::Transfer;
use super::again::{Again, gone};
use super::agent::Agent;
use super::ending::Ending;
use super::event::{Event, Subject};
use super::looked_up::LookedUp;
use super::outcome::Outcome;
use super::session::Session;
use crate::audit::{Act, CannotRecord, Kept, Who};
use crate::jobs::{JobName, Unattended};
use crate::keyring::Entry;
use crate::meter::Meter;
use crate::policy::{self, Grant};

/// The permission to serve one request. Dropping it without [`Permit::finish`] reports the request as
/// abandoned.
#[must_use = "a request that was begun is finished"]
pub struct Permit<'a> {
    pub(super) session: &'a Session,
    verb: Verb,
    subject: Subject,
    pub(super) key: Arc<Entry>,
    act_as: ActAs,
    grant: Grant,
    /// What the audit tells of it, unless it only looks.
    act: Option<Act>,
    /// The transfer that it is.
    transfer: Option<Arc<Transfer>>,
    /// The number of the audit's line of its beginning.
    began: Option<u64>,
    since: Instant,
    is_finished: bool,
    /// The detached job that the request started. Its end is the request's, for the audit.
    job: Option<JobName>,
    /// The job that the request follows.
    followed: Option<JobName>,
    /// What has to stay permitted.
    outline: Arc<Request>,
}

/// Decides on a request of this session, and reports its beginning if it is permitted.
pub fn decide<'a>(session: &'a Session, request: &Request) -> Result<Permit<'a>, Failure> {
    let (verb, subject) = (request.verb(), Subject::of(request));
    let argv = session.agent.config().audit.argv;
    let mut act = Act::of(request, argv);
    let failure = match permitted(session, request) {
        Ok(Permitted { key, act_as, grant, rule }) => {
            if let Some(act) = &mut act {
                act.served_as(act_as.user(), &rule);
                grant.program.iter().for_each(|program| act.executes(&program.words, argv));
            }
            let transfer = Transfer::of(request, &session.agent.counters).map(Arc::new);
            let began = Event::Began {
                verb,
                subject: &subject,
                act: act.as_ref(),
                transfer: transfer.as_ref(),
            };
            match began.report(session) {
                Ok(began) => {
                    session.is_answered.set(false);
                    let (since, is_finished) = (Instant::now(), false);
                    let outline = Arc::new(policy::outline(request, &act_as.user().name()));
                    return Ok(Permit {
                        session,
                        verb,
                        subject,
                        key,
                        act_as,
                        grant,
                        act,
                        transfer,
                        began,
                        since,
                        is_finished,
                        job: None,
                        followed: None,
                        outline,
                    });
                }
                Err(CannotRecord) => Failure::request(Cause::CannotRecord),
            }
        }
        Err(failure) => failure,
    };
    let refused = Event::Refused { verb, subject: &subject, act: act.as_ref(), failure: &failure };
    // Only a beginning can fail to be reported.
    let _ = refused.report(session);
    Err(failure)
}

/// What a permit is made of.
struct Permitted {
    key: Arc<Entry>,
    act_as: ActAs,
    grant: Grant,
    /// The place of the rule.
    rule: String,
}

fn permitted(session: &Session, request: &Request) -> Result<Permitted, Failure> {
    request.check()?;
    let key = session.present_key().ok_or_else(|| gone(request))?;
    let looked_up = LookedUp::new(&session.agent, Some(&session.origin), &key, request, None);
    let facts = looked_up.facts();
    let grant = policy::decide(&key, request, &facts)?;
    let rule = facts.at(grant.line);
    // A parked connection needs no address.
    if !grant.parked {
        looked_up.reached.as_ref().map_err(Clone::clone)?;
    }
    session.charge(buffers(request))?;
    Ok(Permitted { key, act_as: looked_up.act_as?, grant, rule })
}

/// Ends a request that was not permitted: posts the failure and the request's `Finished`.
pub fn refuse(agent: &Agent, outbox: &Outbox, failure: &Failure) -> Result<(), LinkError> {
    outbox.post(failure)?;
    finished(agent, outbox)
}

fn finished(agent: &Agent, outbox: &Outbox) -> Result<(), LinkError> {
    outbox.post(&Finished { audit: agent.audit.head() })
}

/// Bytes that a request takes whatever its content: its buffers, those of TLS, and those of its threads. What
/// grows with what the controller sends is charged where it is kept.
fn buffers(request: &Request) -> usize {
    const KIB: usize = 1024;
    match request {
        Request::Job(JobRequest::Kill(_)) | Request::Rule(RuleRequest::Can(_)) => 0,
        Request::Agent(AgentRequest::SendAgent(_)) => 3072 * KIB,
        Request::Job(_) | Request::Key(_) | Request::Certificate(_) | Request::Agent(_) => {
            768 * KIB
        }
        Request::Audit(_) | Request::Sight(_) => 512 * KIB,
        Request::Connect(
            ConnectRequest::Connect(Connect { bare: true, .. })
            | ConnectRequest::Park(_)
            | ConnectRequest::Listen(_),
        ) => 256 * KIB,
        Request::Connect(_) => 1536 * KIB,
        Request::File(request) => 3072 * KIB + FileRequest::memory(request),
    }
}

impl Permit<'_> {
    /// The user that the request is served as.
    pub fn act_as(&self) -> &ActAs {
        &self.act_as
    }

    /// What the rule permits.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether the key has this verb, too.
    pub fn has(&self, verb: Verb) -> bool {
        self.key.verbs.contains(verb)
    }

    /// Where a transfer counts how far it has come.
    pub fn meter(&self) -> Arc<Meter> {
        self.transfer.as_ref().map(|transfer| Arc::clone(&transfer.meter)).unwrap_or_default()
    }

    /// What must stay permitted while the request is served.
    pub fn again(&self) -> Again {
        Again::new(&self.key, &self.outline, &self.act_as, &self.grant)
    }

    /// What is kept of a job that this request has started, or is about to start, while no session follows it.
    pub fn unattended(&self) -> Option<Unattended> {
        let who = Who::new(&self.session.key, &self.session.origin, self.session.id);
        let began = Ending::began(self.began);
        let audit = Kept::of(&[&who, self.act.as_ref()?, &began]).to_bytes();
        let request = match &*self.outline {
            run @ Request::Job(JobRequest::Run(_)) => run.encode().ok().map(|(_, payload)| payload),
            _ => None,
        };
        Some(Unattended { audit, request })
    }

    /// The request follows this job from now on. If it can't to the end, that is recorded when it comes.
    pub fn follow(&mut self, job: JobName) {
        self.followed = Some(job);
    }

    /// The request has started this detached job, the end of which stands for its own.
    pub fn detach(&mut self, job: JobName) {
        self.job = Some(job);
    }

    /// The command of the detached job could not be started: that is the end of the request.
    pub fn not_started(&mut self) {
        self.job = None;
    }

    /// Ends the request: reports the outcome, and posts the failure, if any, and the request's `Finished`.
    pub fn finish(mut self, outbox: &Outbox, outcome: &Outcome) -> Result<(), LinkError> {
        self.is_finished = true;
        self.session.is_answered.set(true);
        self.tell(outcome);
        match outcome {
            Outcome::Failed(failure) => refuse(&self.session.agent, outbox, failure),
            _ => finished(&self.session.agent, outbox),
        }
    }

    fn tell(&self, outcome: &Outcome) {
        let Self { session, verb, subject, act, began, since, job, .. } = self;
        // The line of a detached job's end is written when that comes.
        job.iter().for_each(|job| session.agent.job_ends.expect(*job));
        let (act, took) = (act.as_ref().filter(|_| job.is_none()), since.elapsed());
        let finished = Event::Finished { verb: *verb, subject, act, began: *began, took, outcome };
        // Only a beginning can fail to be reported.
        let _ = finished.report(session);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.tell(&match self.session.stop_cause() {
                Some(cause) if cause != Cause::Stopping => Outcome::Failed(Failure::request(cause)),
                Some(_) | None => Outcome::Abandoned,
            });
            if let Some((job, unattended)) = self.followed.zip(self.unattended()) {
                let agent = &self.session.agent;
                agent.job_ends.left(job, &unattended, &agent.jobs);
            }
        }
    }
}
