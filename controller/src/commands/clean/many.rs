//! `clean` on several hosts: each of them by itself, and one summary.

use std::process::ExitCode;
use std::sync::Arc;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::clean::Cleaned;

use super::{Args, Done, HostReport, ask, summary};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, Ended, Failed, Fanout, Plan, Report};
use crate::fleet::Fleet;
use crate::output::printer::Printer;
use crate::runtime::block_on;
use crate::target::{Chosen, Targets};
use crate::template::Template;
use crate::transfer::shown;

pub(super) fn run(
    args: &Args,
    path: &[u8],
    target: &Targets,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let fleet = Fleet::load(context, &args.connect)?;
    let hosts = args.fanout.hosts(target, &fleet, context)?;
    if hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let path = Template::parse(path)?;
    let request = |chosen: &Chosen| args.request(chosen, path.for_host(&chosen.host));
    let requests = hosts.iter().map(request).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<HostName> = hosts.iter().map(|chosen| chosen.host.clone()).collect();
    let limits = args.fanout.limits();
    block_on(async {
        let fanout = if args.dry_run {
            Fanout::look(context, names, limits, args.json)?
        } else {
            let what = shown(&args.place).to_string();
            Fanout::new(
                context,
                Plan::now("clean", what, target.to_string(), names),
                limits,
                args.json,
            )?
        };
        let (json, dry_run, limit) = (args.json, args.dry_run, args.timeout);
        let stdout = fanout.screen.stdout.clone();
        let report = CleanReport { stdout, json, dry_run, total: Cleaned::default() };
        let question = async move |number: usize, handle: &HostHandle| {
            ask(handle, &requests[number], limit).await
        };
        fanout.ask(Arc::new(fleet), hosts, question, report).await
    })
}

/// What is told of them.
struct CleanReport {
    stdout: Printer,
    json: bool,
    dry_run: bool,
    total: Cleaned,
}

impl CleanReport {
    fn put(&self, host: &HostName, told: &HostReport) -> Result<(), CliError> {
        if self.json {
            self.stdout.put(&told.object(host)?);
        }
        Ok(())
    }
}

impl Report for CleanReport {
    type Outcome = Result<Done, Failed>;

    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended {
        let told = HostReport::of(came);
        self.total.files += told.cleaned.files;
        self.total.bytes += told.cleaned.bytes;
        let put = self.put(host, &told);
        let HostReport { end, mut errors, .. } = told;
        errors.extend(put.err());
        Ended { end, exit: None, said: None, errors }
    }

    fn nothing(&mut self, host: &HostName, error: &CliError) {
        let error = CliError::new(error.line());
        let told = HostReport::of(Err(Failed { end: End::NotStarted, error }));
        // There is nothing in it that could not be written as JSON.
        let _ = self.put(host, &told);
    }

    fn sum(&self, _: std::time::Duration) -> Option<String> {
        Some(summary(&self.total, self.dry_run))
    }
}
