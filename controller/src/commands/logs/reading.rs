//! What a job has written, and writes, read on any host. Of several hosts those that have no such job are passed
//! over, unless none has.

use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::run::{self, Connections, LogsError, Outcome, Signals, Wanted};
use lariat_client::{HostHandle, Session};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::job::{Job, Start, State};

use crate::capture::Captured;
use crate::commands::report;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, HostContext, HostWork, Screen, Sink};
use crate::jobs::{self, Wish};
use crate::output::json::{self, JobResult, LogsResult};
use crate::target::Targets;

/// Reads the output of a job of any of the hosts.
pub(super) struct Reading {
    pub(super) verb: &'static str,
    /// Which job.
    pub(super) wish: Wish,
    /// This many lines before the end at the beginning, instead of all.
    pub(super) tail: Option<u64>,
    /// Goes on until the job has ended.
    pub(super) follow: bool,
    pub(super) json: bool,
    /// How long a host may take to tell its jobs.
    pub(super) limit: Option<Duration>,
    /// The target, if it names several hosts.
    pub(super) several: Option<Targets>,
}

/// What was heard of the jobs.
#[derive(Default)]
pub(super) struct Total {
    heard: Heard,
    /// What has become of the job that was read last.
    pub(super) state: Option<State>,
}

#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// No host has answered.
    #[default]
    Nothing,
    /// The hosts that answered have no such job.
    Absent,
    /// One has it.
    Present,
}

impl HostWork for Reading {
    /// The result of reading the host's job, if the host has one.
    type Outcome = Option<Result<State, Failed>>;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Self::Outcome, Failed> {
        let listed = jobs::list(&host.handle, self.wish.prefix.as_ref(), self.limit).await;
        let (session, listed) = listed.map_err(|failed| self.before(failed))?;
        let name = host.handle.name();
        let job = if self.several.is_some() {
            let candidates = self.wish.candidates(listed);
            if candidates.is_empty() {
                session.leave().await;
                return Ok(None);
            }
            self.wish.one(name, candidates)
        } else {
            self.wish.one_of(name, listed)
        };
        Ok(Some(match job {
            Ok(job) => self.read(&host, session, job).await,
            Err(error) => Err(error.during(format!("{} on {name}", self.verb)).into()),
        }))
    }

    fn report(
        &self,
        total: &mut Total,
        host: &HostName,
        outcome: Result<Self::Outcome, Failed>,
    ) -> (Vec<u8>, Ended) {
        let heard = match &outcome {
            Ok(Some(_)) => Heard::Present,
            Ok(None) => Heard::Absent,
            Err(_) => Heard::Nothing,
        };
        total.heard = std::mem::take(&mut total.heard).max(heard);
        match outcome.and_then(Option::transpose) {
            Ok(state) => {
                total.state = state;
                (Vec::new(), Ended::ok())
            }
            Err(failed) => self.failed(self.json, host, failed.into()),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&JobResult::failed(host, error))
    }

    fn over(&self, total: &mut Total, _: &Screen) -> Option<CliError> {
        let target = self.several.as_ref().filter(|_| total.heard == Heard::Absent);
        target.map(|target| self.wish.none_of(target).during(self.verb))
    }
}

impl Reading {
    /// Reads a job's output to its end, or to the job's.
    async fn read(
        &self,
        host: &HostContext<'_>,
        session: Session,
        job: Job,
    ) -> Result<State, Failed> {
        let HostContext { number, handle, outlet, .. } = host;
        let name = handle.name();
        let outputs = if self.json { outlet.captures() } else { outlet.streams(name, *number)? };
        let (state, now_ms, (mut stdout, mut stderr));
        if self.follow && !job.detached && self.several.is_none() {
            session.leave().await;
            let followed = outlet.job(outputs);
            state = follow(handle, &job, &followed).await.map_err(Failed::from);
            now_ms = job.ended_ms.unwrap_or(job.began_ms);
            (stdout, stderr) = followed.into_outputs();
        } else {
            now_ms = session.welcome.time_ms;
            let start = self.tail.map_or(Start::Beginning, Start::Lines);
            let wanted = Wanted { job: job.job, start, follow: self.follow };
            let lost = |stream: &str, bytes: u64| {
                let (verb, job) = (self.verb, jobs::short(&job));
                let what = format!("{bytes} bytes of {stream} of job {job} are not kept");
                outlet.tell(&format!("lariat: {verb} on {name}: {what}"));
            };
            let log = outlet.log(outputs);
            let read = log.read(handle, Some(session), &wanted, lost).await;
            state = read.map_err(|error| self.before(as_failed(error, handle)));
            (stdout, stderr) = log.into_outputs();
        }
        stdout.finish().await;
        stderr.finish().await;
        let state = state?;
        if self.json {
            // What is read of it now is in memory until it is written.
            outlet.room().await;
            let read = stdout.read().and_then(|stdout| Ok((stdout, stderr.read()?)));
            let (stdout, stderr) = read.map_err(CliError::from)?;
            let (job, output) = (Job { state, ..job }, Captured::streams(&stdout, &stderr));
            let job = jobs::object(name, &job, now_ms);
            outlet.put(&json::line(&LogsResult { job, output })?)?;
        }
        Ok(state)
    }

    fn before(&self, failed: Failed) -> Failed {
        failed.before(&format!("{} on", self.verb))
    }
}

fn as_failed(error: LogsError, handle: &HostHandle) -> Failed {
    match error {
        LogsError::Local(error) => Failed { end: End::Errored, error: CliError::stdout(&error) },
        LogsError::Connect(error) => error.into(),
        LogsError::Broken(error) => Failed::broken(error, handle),
    }
}

/// Attaches to a job that was not detached: its controller has gone, or was away for too long, and what it has
/// not heard is kept for a while.
async fn follow(
    handle: &HostHandle,
    listed: &Job,
    job: &run::Job<Sink, Sink>,
) -> Result<State, CliError> {
    // It names the job; what it runs is not asked for again.
    let request = Run {
        job: listed.job,
        command: Command::Shell(listed.command.clone()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: u64::try_from(handle.reconnect().as_millis()).unwrap_or(u64::MAX),
    };
    let (mut connections, mut signals) = (Connections::new(handle), Signals::none());
    let outcome = run::resume(&mut connections, &mut signals, &request, None, job).await;
    connections.finish().await;
    match outcome {
        Outcome::Ended(end) => Ok(State::Ended(end)),
        outcome => Err(report::error("attach", &outcome, handle, &request)
            .unwrap_or_else(|| CliError::new("left").quiet())),
    }
}
