//! Reads a job's output from each host. Of several hosts, those without the job are skipped, unless none has
//! it.

use std::sync::Mutex;
use std::time::Duration;

use lariat_base::clock::whole_milliseconds;
use lariat_base::lock::lock;
use lariat_base::name::HostName;
use lariat_client::run::{self, Connections, LogsError, Outcome, Signals, Wanted};
use lariat_client::{HostHandle, Session};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use lariat_wire::protocol::job::{Job, Start, State};

use super::job_end;
use crate::capture::Captured;
use crate::commands::report;
use crate::encoding::Conversion;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, HostContext, HostWork, Screen, Sink};
use crate::jobs::{self, Wish};
use crate::output::json::{self, JobResult, LogsResult};
use crate::output::style;
use crate::target::Targets;

/// The work for each host.
pub(super) struct Reading {
    pub(super) verb: &'static str,
    /// The requested job.
    pub(super) wish: Wish,
    /// Begin this many lines before the end, instead of at the beginning.
    pub(super) tail: Option<u64>,
    /// Continue until the job has ended.
    pub(super) follow: bool,
    /// The job's end is the host's result.
    pub(super) is_attached: bool,
    pub(super) json: bool,
    /// What `--encoding` asks for.
    pub(super) conversion: Conversion,
    /// Time limit for listing a host's jobs.
    pub(super) limit: Option<Duration>,
    /// The target, if it names several hosts.
    pub(super) several: Option<Targets>,
    /// The host that was read first, and its job.
    pub(super) first: Mutex<Option<(HostName, Job)>>,
}

/// The results of all hosts.
#[derive(Default)]
pub(super) struct Total {
    heard: Heard,
    /// The hosts that answered and have no such job.
    without: Vec<HostName>,
}

#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// No host has answered.
    #[default]
    Nothing,
    /// The hosts that answered have no such job.
    Absent,
    /// At least one host has it.
    Present,
}

impl HostWork for Reading {
    /// The result of reading the host's job, if the host has one.
    type Outcome = Option<Result<State, Failed>>;
    type Total = Total;

    async fn on(&self, host: HostContext<'_>) -> Result<Self::Outcome, Failed> {
        let listed = jobs::list(&host.handle, &self.wish, self.limit).await;
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
            Ok(job) => {
                self.tell_other(&host, &job);
                self.read(&host, session, job).await
            }
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
        if heard == Heard::Absent {
            total.without.push(host.clone());
        }
        total.heard = std::mem::take(&mut total.heard).max(heard);
        match outcome.and_then(Option::transpose) {
            Ok(_) => (Vec::new(), Ended::ok()),
            Err(failed) => self.failed(self.json, host, failed.into()),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&JobResult::failed(host, error))
    }

    fn over(&self, total: &mut Total, screen: &Screen) -> Option<CliError> {
        let target = self.several.as_ref().filter(|_| total.heard == Heard::Absent);
        let error = target.map(|target| self.wish.none_of(target).during(self.verb));
        for host in total.without.iter().filter(|_| self.json) {
            // Such an object can always be encoded as JSON.
            let object = jobs::without(host, error.as_ref()).unwrap_or_default();
            screen.stdout.put(&object);
        }
        error
    }
}

impl Reading {
    /// Says where a host's newest job is not that of the other hosts.
    fn tell_other(&self, host: &HostContext<'_>, job: &Job) {
        if self.json || self.wish.prefix.is_some() || style::is_quiet() {
            return;
        }
        let mut first = lock(&self.first);
        let (other, of_other) =
            first.get_or_insert_with(|| (host.chosen.host.clone(), job.clone()));
        if of_other.job != job.job {
            let called = |job: &Job| format!("{} ({})", jobs::short(job), jobs::command(job));
            let (name, verb) = (&host.chosen.host, self.verb);
            let (ours, theirs) = (called(job), called(of_other));
            host.outlet.tell(&format!(
                "lariat: {verb}: {name}: this is job {ours}, while that of {other} is {theirs}"
            ));
        }
    }

    /// Reads a job's output to its end; with `follow`, until the job has ended.
    async fn read(
        &self,
        host: &HostContext<'_>,
        session: Session,
        job: Job,
    ) -> Result<State, Failed> {
        let HostContext { handle, outlet, .. } = host;
        let name = handle.name();
        let outputs = if self.json { outlet.captures() } else { outlet.streams(name)? };
        let outputs = Sink::decoding(outputs, self.conversion.encoding);
        let (state, now_ms, (mut stdout, mut stderr));
        let is_own = self.several.is_none() && !self.wish.all_keys;
        if self.follow && !job.detached && is_own {
            session.leave().await;
            let followed = outlet.job(outputs);
            state = follow(handle, &job, &followed).await.map_err(Failed::from);
            now_ms = job.ended_ms.unwrap_or(job.began_ms);
            (stdout, stderr) = followed.into_outputs();
        } else {
            now_ms = session.welcome.time_ms;
            let start = self.tail.map_or(Start::Beginning, Start::Lines);
            let wanted =
                Wanted { job: job.job, start, follow: self.follow, all_keys: self.wish.all_keys };
            let lost = |stream: &str, bytes: u64| {
                let (verb, job) = (self.verb, jobs::short(&job));
                let what = format!("{bytes} bytes of {stream} of job {job} are not kept");
                outlet.tell(&format!("lariat: {verb} on {name}: {what}"));
            };
            let log = outlet.log(outputs);
            let read = log.read(handle, Some(session), &wanted, lost).await;
            state = read.map_err(|error| self.failed_reading(error, handle));
            (stdout, stderr) = log.into_outputs();
        }
        stdout.finish().await;
        stderr.finish().await;
        let replaced = self.conversion.told_output(stdout.replaced(), stderr.replaced());
        if let Some(told) = replaced.filter(|_| !self.json) {
            outlet.tell(&format!("lariat: {} on {name}: {told}", self.verb));
        }
        let state = state?;
        if self.json {
            // Limits how many objects are in memory at a time.
            outlet.room().await;
            let read = stdout.read().and_then(|stdout| Ok((stdout, stderr.read()?)));
            let (stdout, stderr) = read.map_err(CliError::from)?;
            let (job, output) = (Job { state, ..job }, Captured::streams(&stdout, &stderr));
            let job = jobs::object(name, &job, now_ms);
            let job = if self.is_attached { job_end::object(job, state) } else { job };
            outlet.put(&json::line(&LogsResult { job, output })?)?;
        }
        Ok(state)
    }

    fn failed_reading(&self, error: LogsError, handle: &HostHandle) -> Failed {
        match error {
            LogsError::Local(error) => {
                let on = format!("{} on {}", self.verb, handle.name());
                CliError::stdout(&error).during(on).into()
            }
            LogsError::Connect(error) => self.before(error.into()),
            LogsError::Broken(error) => self.before(Failed::broken(error, handle)),
        }
    }

    /// Puts the verb before a failure that begins with its host.
    fn before(&self, failed: Failed) -> Failed {
        failed.before(&format!("{} on", self.verb))
    }
}

/// Attaches to a job that is not detached: its controller was disconnected, and its undelivered output is kept
/// for some time.
async fn follow(
    handle: &HostHandle,
    listed: &Job,
    job: &run::Job<Sink, Sink>,
) -> Result<State, CliError> {
    // The request names the job; the agent ignores what it would run.
    let request = Run {
        job: listed.job,
        command: Command::Shell(listed.command.clone()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        grace_ms: whole_milliseconds(handle.reconnect()),
    };
    let (mut connections, mut signals) = (Connections::new(handle), Signals::none());
    let outcome = run::resume(&mut connections, &mut signals, &request, None, job).await;
    connections.finish().await;
    match outcome {
        Outcome::Ended(end) => Ok(State::Ended(end)),
        Outcome::NoReader => Err(CliError::no_reader()),
        outcome => Err(report::error("attach", &outcome, handle, &request)
            .unwrap_or_else(|| CliError::new("left").quiet())),
    }
}
