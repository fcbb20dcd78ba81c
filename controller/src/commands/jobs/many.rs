//! The jobs on several hosts: in one table, when all have answered.

use std::process::ExitCode;

use lariat_base::name::HostName;
use lariat_client::HostHandle;

use super::{Args, HEADINGS, HostJobs, ask, cells};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, Fanout, Report};
use crate::jobs::{self, Several};
use crate::output::json;
use crate::output::printer::Printer;
use crate::output::table::table;
use crate::runtime::block_on;
use crate::target::natural;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let Args { whom, job, json } = args;
    let several = whom.several(context)?;
    if several.hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    block_on(async {
        let fanout = Fanout::look(context, several.names(), whom.fanout.limits(), *json)?;
        let rows = (!json).then(Vec::new);
        let none = job.is_some().then(|| args.wish().none_of(&whom.target).during("jobs"));
        let stdout = fanout.screen.stdout.clone();
        let report = Listing { stdout, rows, count: 0, none, has_answer: false };
        let (prefix, limit) = (job.clone(), whom.timeout);
        let question =
            async move |_, handle: &HostHandle| ask(handle, prefix.as_ref(), limit).await;
        let Several { fleet, hosts } = several;
        fanout.ask(fleet, hosts, question, report).await
    })
}

/// What is told of them.
struct Listing {
    stdout: Printer,
    /// The table's, by host, unless they are told as objects.
    rows: Option<Vec<(HostName, Vec<String>)>>,
    count: usize,
    /// What it is if none has the job that was asked for.
    none: Option<CliError>,
    /// Any host has answered.
    has_answer: bool,
}

impl Report for Listing {
    type Outcome = Result<HostJobs, Failed>;

    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended {
        match came {
            Ok(told) => {
                self.has_answer = true;
                self.count += told.jobs.len();
                let listed = self.list(host, &told);
                listed.map_or_else(|error| Ended::failed(End::Errored, error), |()| Ended::ok())
            }
            Err(Failed { end, error }) => {
                let error = error.counting_as(end).during("jobs");
                if self.rows.is_none() {
                    jobs::put_failed(&self.stdout, host, &error);
                }
                Ended::failed(end, error)
            }
        }
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        if self.rows.is_none() {
            jobs::put_failed(&self.stdout, host, error);
        }
    }

    fn over(&mut self, stdout: &Printer) -> Option<CliError> {
        if let Some(rows) = self.rows.take().filter(|rows| !rows.is_empty()) {
            stdout.put(all(rows).as_bytes());
        }
        self.none.take().filter(|_| self.has_answer && self.count == 0)
    }

    fn sum(&self, _: std::time::Duration) -> Option<String> {
        let plural = if self.count == 1 { "" } else { "s" };
        Some(format!("{} job{plural}", self.count))
    }
}

impl Listing {
    fn list(
        &mut self,
        host: &HostName,
        HostJobs { jobs, now_ms }: &HostJobs,
    ) -> Result<(), CliError> {
        for job in jobs {
            match &mut self.rows {
                Some(rows) => rows.push((host.clone(), cells(job, *now_ms))),
                None => self.stdout.put(&json::line(&jobs::object(host, job, *now_ms))?),
            }
        }
        Ok(())
    }
}

/// The table of all, by host; each host's own order stays.
fn all(mut rows: Vec<(HostName, Vec<String>)>) -> String {
    rows.sort_by(|(a, _), (b, _)| natural(a.as_str(), b.as_str()));
    let rows = rows.into_iter().map(|(host, cells)| [vec![host.to_string()], cells].concat());
    table(&[&["HOST"], &HEADINGS[..]].concat(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_whole_and_in_the_order_that_people_count_in() {
        let row = |host: &str, job: &str| {
            (
                host.parse().unwrap(),
                [job, "running", "1s", "1s", "make"].map(ToOwned::to_owned).to_vec(),
            )
        };
        let rows = vec![row("web10", "aa"), row("web2", "dd"), row("web10", "bb")];
        insta::assert_snapshot!(all(rows), @r"
        HOST   JOB  STATE    STARTED  TOOK  COMMAND
        web2   dd   running  1s       1s    make
        web10  aa   running  1s       1s    make
        web10  bb   running  1s       1s    make
        ");
    }
}
