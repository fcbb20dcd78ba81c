//! Events: each is reported once, and the log is written from them.

use std::fmt;

use lariat_base::escape::escape;
use lariat_wire::protocol::exec::Exit;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::request::{FileRequest, JobRequest, Request};
use lariat_wire::protocol::verb::Verb;
use tracing::{info, warn};

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
        /// Why it was refused.
        failure: &'a Failure,
    },
    /// A permitted request begins.
    Began {
        /// The verb that the request needs.
        verb: Verb,
        /// What the request is about.
        subject: &'a Subject,
    },
    /// A permitted request ended.
    Finished {
        /// The verb that the request needs.
        verb: Verb,
        /// What the request is about.
        subject: &'a Subject,
        /// How it ended.
        outcome: &'a Outcome,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded. The text is for the log.
    Done(String),
    /// The command ended.
    Exited(Exit),
    /// It failed at this end, and the controller has not been told yet.
    Failed(Failure),
    /// It failed, and the controller knows: the failure was sent to it, or came from it.
    Over(String),
    /// The connection broke, the controller gave the request up, or the session is to end.
    Abandoned,
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
            Request::File(request) => match request {
                FileRequest::Push(push) => escape(&push.dest.path),
                FileRequest::PushTree(push) => escape(&push.dest.path),
                FileRequest::Pull(pull) => escape(&pull.source),
                FileRequest::Clean(clean) => escape(&clean.path),
                FileRequest::Lane(lane) => format!("lane of {}", lane.transfer),
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
    /// Writes the event to the log, in the session's span.
    pub fn tell(&self) {
        match self {
            Self::LoggedIn => info!("logged in"),
            Self::LoggedOut { why: None } => info!("ended"),
            Self::LoggedOut { why: Some(why) } => info!("ended: {why}"),
            Self::Refused { verb, subject, failure } => warn!("{verb} {subject}: {failure}"),
            Self::Began { verb, subject } => info!("{verb} {subject}"),
            Self::Finished { verb, subject, outcome } => match outcome {
                Outcome::Done(summary) => info!("{verb} {subject}: {summary}"),
                Outcome::Exited(exit) => {
                    info!("{verb} {subject}: ended with {}", exit.end.status());
                }
                Outcome::Failed(failure) => warn!("{verb} {subject}: {failure}"),
                Outcome::Over(why) => info!("{verb} {subject}: {why}"),
                Outcome::Abandoned => info!("{verb} {subject}: its controller is gone"),
            },
        }
    }
}
