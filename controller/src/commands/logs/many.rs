//! What jobs of several hosts have written: lines with their host before them, as they come. Hosts that
//! have no such job are passed over, unless none has.

use std::process::ExitCode;

use lariat_common::name::HostName;
use lariat_common::protocol::job::Job;

use super::{Args, Part};
use crate::connect::Session;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, Fanout, Lines, Report, Sink, prefix};
use crate::jobs::{self, Several, Wish};
use crate::output::printer::Printer;
use crate::reach::Reach;
use crate::run::Log;
use crate::runtime::block_on;
use crate::target::Targets;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { common, follow } = args;
    let whom = &common.whom;
    let several = whom.several(context)?;
    if several.hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let plan = several.plan("logs", common.job.as_ref(), &whom.target);
    block_on(async {
        let fanout = Fanout::new(context, plan, whom.fanout.limits(), false)?.asking();
        let reader = Reader {
            wish: common.wish(),
            part: common.part.clone(),
            follow: *follow,
            stdout: fanout.screen.stdout.clone(),
            stderr: fanout.screen.stderr.clone(),
        };
        let limit = whom.timeout;
        let question = async move |number, reach: &Reach| {
            let listed = jobs::list(reach, reader.wish.prefix.as_ref(), limit).await?;
            Ok(reader.read(number, reach, listed).await)
        };
        let report = Told { wish: common.wish(), target: whom.target.clone(), none: true };
        let Several { fleet, hosts } = several;
        fanout.ask(fleet, hosts, question, report).await
    })
}

/// Reads jobs of any number of hosts.
struct Reader {
    wish: Wish,
    part: Part,
    follow: bool,
    stdout: Printer,
    stderr: Printer,
}

/// What came of reading a host's job, if it has one.
type Read = Option<Result<(), Failed>>;

impl Reader {
    async fn read(
        &self,
        number: usize,
        reach: &Reach,
        (mut session, listed): (Session, Vec<Job>),
    ) -> Read {
        let host = &reach.peer.name;
        let candidates = self.wish.candidates(listed);
        if candidates.is_empty() {
            // Whether the agent hears that we leave changes nothing.
            let _ = session.link.writer.finish().await;
            return None;
        }
        let job = match self.wish.one(host, candidates) {
            Ok(job) => job,
            Err(error) => return Some(Err(error.during(host).into())),
        };
        let lines = |printer: &Printer| {
            Sink::Lines(Lines::new(prefix(host, number, printer.has_colours())), printer.clone())
        };
        let log = Log::one_of_many(lines(&self.stdout), lines(&self.stderr));
        let lost = |what| self.stderr.put(format!("lariat: logs on {host}: {what}\n").as_bytes());
        let read = self.part.read(&log, reach, session, (&job, self.follow), lost).await;
        let (mut stdout, mut stderr) = log.into_outputs();
        stdout.finish().await;
        stderr.finish().await;
        Some(read.map(drop))
    }
}

/// What is told of them.
struct Told {
    wish: Wish,
    target: Targets,
    /// None has it, as far as they answered.
    none: bool,
}

impl Report for Told {
    type Came = Result<Read, Failed>;

    fn ended(&mut self, _: &HostName, came: Self::Came) -> Ended {
        self.none &= !matches!(came, Ok(Some(_)));
        match came {
            Ok(None | Some(Ok(()))) => Ended::ok(),
            Ok(Some(Err(Failed { end, error }))) | Err(Failed { end, error }) => {
                Ended::failed(end, error.before("logs on"))
            }
        }
    }

    fn over(&mut self, _: &Printer) -> Option<CliError> {
        self.none.then(|| self.wish.none_of(&self.target).during("logs"))
    }
}
