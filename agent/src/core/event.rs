//! What happens, told once: the log is written from here, and so will be whatever else wants to know.

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
    /// The session ended, by its peer or by this end.
    LoggedOut {
        /// What broke it, if something did.
        why: Option<String>,
    },
    /// A request was refused before anything was done.
    Refused {
        /// The verb that it needs.
        verb: Verb,
        /// Whatever it is about.
        subject: &'a Subject,
        /// Why.
        failure: &'a Failure,
    },
    /// A request that was permitted begins.
    Began {
        /// The verb that it needed.
        verb: Verb,
        /// Whatever it is about.
        subject: &'a Subject,
    },
    /// A request is over.
    Finished {
        /// The verb that it needed.
        verb: Verb,
        /// Whatever it is about.
        subject: &'a Subject,
        /// How it ended.
        outcome: &'a Outcome,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done. The text is for the log.
    Done(String),
    /// The command ended like this.
    Exited(Exit),
    /// It failed at this end, and the controller is to be told.
    Failed(Failure),
    /// It failed, and the controller knows: it was told, or it was the controller that failed.
    Over(String),
    /// The connection broke, the controller left, or the session is to end.
    Abandoned,
}

/// What a request is about, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// What this request is about.
    pub fn of(request: &Request) -> Self {
        Self(match request {
            Request::Job(request) => match request {
                JobRequest::Run(run) => format!("job {}", run.job),
                JobRequest::Attach(attach) => format!("job {}", attach.job),
                JobRequest::Logs(logs) => format!("job {}", logs.job),
                JobRequest::Kill(kill) => format!("job {}", kill.job),
                JobRequest::List(_) => "jobs".to_owned(),
            },
            Request::File(request) => escape(match request {
                FileRequest::Push(push) => &push.dest.path,
                FileRequest::PushTree(push) => &push.dest.path,
                FileRequest::Pull(pull) => &pull.source,
                FileRequest::Clean(clean) => &clean.path,
            }),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Event<'_> {
    /// Writes the event to the log, in the present session's span.
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
