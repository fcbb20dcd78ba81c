//! Events: each is reported once, and the audit, the log, the counters and the status are made from them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::escape::escape;
use lariat_wire::protocol::connect::Connect;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::key::KeyRotate;
use lariat_wire::protocol::listen::{Listen, Take};
use lariat_wire::protocol::note::ClearNotes;
use lariat_wire::protocol::request::{
    AgentRequest, AuditRequest, CertificateRequest, ConnectRequest, FileRequest, JobRequest,
    KeyRequest, Request, RuleRequest, SightRequest,
};
use lariat_wire::protocol::verb::Verb;
use tracing::{info, warn};

use super::activity::{Doing, Transfer};
use super::ending::Ending;
use super::outcome::{Done, Outcome};
use super::session::Session;
use crate::audit::{Act, CannotRecord, Part, Refusal, Who};

/// One thing that happened in a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// A key logged in.
    LoggedIn,
    /// The session ended.
    LoggedOut {
        /// The error that ended it, if any.
        why: Option<String>,
    },
    /// A request was refused before anything was done.
    Refused {
        /// The verb that the request needs.
        verb: Verb,
        /// What the request is about.
        subject: &'a Subject,
        /// What it would do, unless it only looks.
        act: Option<&'a Act>,
        /// Why it was refused.
        failure: &'a Failure,
    },
    /// A permitted request begins.
    Began {
        /// The verb that the request needs.
        verb: Verb,
        /// What the request is about.
        subject: &'a Subject,
        /// What it does, unless it only looks.
        act: Option<&'a Act>,
        /// The transfer that it is.
        transfer: Option<&'a Arc<Transfer>>,
    },
    /// A permitted request ended.
    Finished {
        /// The verb that the request needs.
        verb: Verb,
        /// What the request is about.
        subject: &'a Subject,
        /// What it did, unless it only looked.
        act: Option<&'a Act>,
        /// The number of the line of its beginning, if it has one.
        began: Option<u64>,
        /// How long it took.
        took: Duration,
        /// How it ended.
        outcome: &'a Outcome,
    },
}

/// What a request is about, as text for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// The subject of a request.
    pub fn of(request: &Request) -> Self {
        Self(match request {
            Request::Job(request) => match request {
                JobRequest::Run(run) => format!("job {}", run.job),
                JobRequest::Attach(attach) => format!("job {}", attach.job),
                JobRequest::Logs(logs) => format!("job {}", logs.job),
                JobRequest::Kill(kill) => format!("job {}", kill.job),
                JobRequest::List(_) => "jobs".to_owned(),
            },
            Request::Audit(AuditRequest::ReadAudit(_)) => "read".to_owned(),
            Request::Audit(AuditRequest::AcceptAudit(_)) => "accepted as it is".to_owned(),
            Request::Rule(RuleRequest::Can(can)) => match &can.key {
                Some(key) => format!("can {}", escape(key.as_bytes())),
                None => "can".to_owned(),
            },
            Request::File(request) => match request {
                FileRequest::Push(push) => escape(&push.dest.path),
                FileRequest::PushTree(push) => escape(&push.dest.path),
                FileRequest::Pull(pull) => escape(&pull.source),
                FileRequest::Clean(clean) => escape(&clean.path),
                FileRequest::Lane(lane) => format!("lane of {}", lane.transfer),
            },
            Request::Key(request) => match request {
                KeyRequest::KeyList(_) => "list".to_owned(),
                KeyRequest::KeyAdd(add) => format!("add {} {}", add.label, add.id),
                KeyRequest::KeyAllow(allow) => format!("allow {}", escape(allow.key.as_bytes())),
                KeyRequest::KeyRevoke(revoke) => {
                    format!("revoke {}", escape(revoke.key.as_bytes()))
                }
                KeyRequest::KeyRotate(KeyRotate::Begin { id, .. }) => format!("rotate to {id}"),
                KeyRequest::KeyRotate(KeyRotate::Finish) => "rotate".to_owned(),
            },
            Request::Certificate(CertificateRequest::Renew(_)) => "signing request".to_owned(),
            Request::Certificate(CertificateRequest::Install(_)) => "certificate".to_owned(),
            Request::Agent(request) => match request {
                AgentRequest::Upgrade(upgrade) => format!("agent {}", hex::encode(upgrade.sha256)),
                AgentRequest::SendAgent(_) => "new agent".to_owned(),
                AgentRequest::Confirm(_) => "new agent's confirmation".to_owned(),
                AgentRequest::Examine(_) => "the host".to_owned(),
            },
            Request::Sight(request) => match request {
                SightRequest::Status(_) => "of the host".to_owned(),
                SightRequest::ReadNotes(_) => "of notes".to_owned(),
                SightRequest::WriteNote(_) => "left".to_owned(),
                SightRequest::ClearNotes(ClearNotes { number: Some(number) }) => {
                    format!("{number} cleared")
                }
                SightRequest::ClearNotes(ClearNotes { number: None }) => "all cleared".to_owned(),
            },
            Request::Connect(request) => match request {
                ConnectRequest::Connect(Connect { parked: Some(name), host, .. })
                    if host.is_empty() =>
                {
                    format!("to host:{name}")
                }
                ConnectRequest::Connect(Connect { host, port, .. }) => {
                    format!("to {}:{port}", escape(host.as_bytes()))
                }
                ConnectRequest::Park(park) => format!("for {}", park.host),
                ConnectRequest::ConnectUnix(connect) => format!("to {}", escape(&connect.path)),
                ConnectRequest::Listen(Listen { address, port }) => {
                    format!("on port {port} of {}", escape(address.as_bytes()))
                }
                ConnectRequest::Take(Take { listener, connection }) => {
                    format!("connection {connection} of {listener}")
                }
            },
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Event<'_> {
    /// Reports the event: writes its line into the audit, then one into the log, counts it, and keeps the session's
    /// status. Returns the number of the audit's line of a beginning; fails only if a beginning that needs one has
    /// none.
    pub fn report(&self, session: &Session) -> Result<Option<u64>, CannotRecord> {
        let began = self.record(session);
        if began.is_ok() {
            self.tell();
            self.show(session);
        }
        began
    }

    /// Counts the event, and keeps what the session does.
    fn show(&self, session: &Session) {
        let Session { agent, id, .. } = session;
        match self {
            Self::LoggedIn => {
                agent.activity.came(*id, &session.key, &session.origin);
                agent.counters.logged_in();
            }
            Self::LoggedOut { .. } => agent.activity.left(*id),
            Self::Began { verb, transfer, .. } => {
                let transfer = transfer.map(Arc::clone);
                agent.activity.does(*id, Some(Doing { verb: *verb, transfer }));
            }
            Self::Refused { failure, .. } => agent.counters.refused(failure),
            Self::Finished { verb, took, outcome, .. } => {
                agent.activity.does(*id, None);
                agent.counters.finished(*verb, *took, outcome);
            }
        }
    }

    fn record(&self, session: &Session) -> Result<Option<u64>, CannotRecord> {
        let audit = &session.agent.audit;
        let who = || Who::new(&session.key, &session.origin, session.id);
        match self {
            Self::Refused { act, failure, .. } => {
                let (who, ending) = (who(), Ending::refused(failure));
                let refusal = Refusal::of_request(&session.key, rule(failure));
                match act {
                    Some(act) => audit.refused(&refusal, &[&who, *act, &refusal.rule(), &ending]),
                    None => audit.refused(&refusal, &[&who, &refusal.rule(), &ending]),
                }
            }
            Self::Began { act: Some(act), .. } => {
                return audit.begin(&[&who(), *act], session.holder.is_owner());
            }
            Self::Finished { act: Some(act), began, took, outcome, .. } => {
                let (who, ending) = (who(), Ending::of(*began, *took, outcome));
                let parts: [&dyn Part; 3] = [&who, *act, &ending];
                audit.add("ended", &parts);
            }
            Self::LoggedIn
            | Self::LoggedOut { .. }
            | Self::Began { act: None, .. }
            | Self::Finished { act: None, .. } => {}
        }
        Ok(None)
    }

    /// Writes the event to the log, in the session's span.
    fn tell(&self) {
        match self {
            Self::LoggedIn => info!("logged in"),
            Self::LoggedOut { why: None } => info!("ended"),
            Self::LoggedOut { why: Some(why) } => info!("ended: {why}"),
            Self::Refused { verb, subject, failure, .. } => warn!("{verb} {subject}: {failure}"),
            Self::Began { verb, subject, .. } => info!("{verb} {subject}"),
            Self::Finished { verb, subject, outcome, .. } => match outcome {
                Outcome::Done(Done { text, .. }) => info!("{verb} {subject}: {text}"),
                Outcome::Exited(exit, _) => {
                    info!("{verb} {subject}: ended with {}", exit.end.status());
                }
                Outcome::Failed(failure) => warn!("{verb} {subject}: {failure}"),
                Outcome::Over(why) => info!("{verb} {subject}: {why}"),
                Outcome::Abandoned => info!("{verb} {subject}: its controller is gone"),
            },
        }
    }
}

/// The rule of the keyring that a refusal is by.
fn rule(failure: &Failure) -> &str {
    match &failure.cause {
        Cause::NotPermitted { rule, .. } => rule.split(": ").next().unwrap_or(rule),
        Cause::AtLimit(_) => "limits",
        _ => "request",
    }
}
