//! What jobs of several hosts have written: lines with their host before them, as they come. Hosts that
//! have no such job are passed over, unless none has.

use std::process::ExitCode;

use lariat_base::name::HostName;
use lariat_client::run::Log;
use lariat_client::{HostHandle, Session};
use lariat_wire::protocol::job::{Job, State};
use tokio::io::AsyncWrite;

use super::{Args, Part, object};
use crate::capture::Capture;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, Fanout, Report, Sink};
use crate::jobs::{self, Several, Wish};
use crate::output::printer::Printer;
use crate::runtime::block_on;
use crate::target::Targets;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { common, follow } = args;
    let whom = &common.whom;
    let several = whom.several(context)?;
    if several.hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    block_on(async {
        let fanout = Fanout::look(context, several.names(), whom.fanout.limits(), common.json)?;
        let reader = Reader {
            wish: common.wish(),
            part: common.part.clone(),
            follow: *follow,
            json: common.json,
            stdout: fanout.screen.stdout.clone(),
            stderr: fanout.screen.stderr.clone(),
        };
        let limit = whom.timeout;
        let question = async move |number, handle: &HostHandle| {
            let listed = jobs::list(handle, reader.wish.prefix.as_ref(), limit).await?;
            Ok(reader.read(number, handle, listed).await)
        };
        let objects = common.json.then(|| fanout.screen.stdout.clone());
        let report = LogsReport {
            wish: common.wish(),
            target: whom.target.clone(),
            objects,
            heard: Heard::default(),
        };
        let Several { fleet, hosts } = several;
        fanout.ask(fleet, hosts, question, report).await
    })
}

/// Reads jobs of any number of hosts.
struct Reader {
    wish: Wish,
    part: Part,
    follow: bool,
    json: bool,
    stdout: Printer,
    stderr: Printer,
}

/// The result of reading a host's job, if the host has one.
type Read = Option<Result<(), Failed>>;

impl Reader {
    async fn read(
        &self,
        number: usize,
        handle: &HostHandle,
        (session, listed): (Session, Vec<Job>),
    ) -> Read {
        let host = handle.name();
        let candidates = self.wish.candidates(listed);
        if candidates.is_empty() {
            session.leave().await;
            return None;
        }
        let job = match self.wish.one(host, candidates) {
            Ok(job) => job,
            Err(error) => return Some(Err(error.during(host).into())),
        };
        Some(if self.json {
            self.as_object(handle, session, job).await
        } else {
            self.as_lines(number, handle, session, job).await
        })
    }

    async fn as_lines(
        &self,
        number: usize,
        handle: &HostHandle,
        session: Session,
        job: Job,
    ) -> Result<(), Failed> {
        let lines = |printer: &Printer| Sink::lines(handle.name(), number, printer);
        let log = Log::one_of_many(lines(&self.stdout), lines(&self.stderr));
        let read = self.follow(&log, handle, session, &job).await;
        let (mut stdout, mut stderr) = log.into_outputs();
        stdout.finish().await;
        stderr.finish().await;
        read.map(drop)
    }

    async fn as_object(
        &self,
        handle: &HostHandle,
        session: Session,
        job: Job,
    ) -> Result<(), Failed> {
        let now_ms = session.welcome.time_ms;
        let log = Log::one_of_many(Capture::one_of_many(), Capture::one_of_many());
        let state = self.follow(&log, handle, session, &job).await?;
        // What is read of it now is in memory until it is written.
        self.stdout.room().await;
        let job = Job { state, ..job };
        self.stdout.put(&object(handle.name(), &job, now_ms, log.into_outputs())?);
        Ok(())
    }

    async fn follow<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin>(
        &self,
        log: &Log<O, E>,
        handle: &HostHandle,
        session: Session,
        job: &Job,
    ) -> Result<State, Failed> {
        let host = handle.name();
        let lost = |what| self.stderr.put(format!("lariat: logs on {host}: {what}\n").as_bytes());
        self.part.read(log, handle, session, (job, self.follow), lost).await
    }
}

/// The report of all hosts.
struct LogsReport {
    wish: Wish,
    target: Targets,
    /// Where failures are told as objects.
    objects: Option<Printer>,
    heard: Heard,
}

/// What was heard of the job so far.
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

impl Report for LogsReport {
    type Outcome = Result<Read, Failed>;

    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended {
        let heard = match &came {
            Ok(Some(_)) => Heard::Present,
            Ok(None) => Heard::Absent,
            Err(_) => Heard::Nothing,
        };
        self.heard = std::mem::take(&mut self.heard).max(heard);
        match came {
            Ok(None | Some(Ok(()))) => Ended::ok(),
            Ok(Some(Err(Failed { end, error }))) | Err(Failed { end, error }) => {
                let error = error.counting_as(end).before("logs on");
                self.objects.iter().for_each(|stdout| jobs::put_failed(stdout, host, &error));
                Ended::failed(end, error)
            }
        }
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        self.objects.iter().for_each(|stdout| jobs::put_failed(stdout, host, error));
    }

    fn over(&mut self, _: &Printer) -> Option<CliError> {
        (self.heard == Heard::Absent).then(|| self.wish.none_of(&self.target).during("logs"))
    }
}
