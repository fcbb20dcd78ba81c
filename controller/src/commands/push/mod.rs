//! `lariat push`: sends files and directories to hosts.

mod dry_run;
mod file;
mod push_job;
mod stdin;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;

pub(crate) use self::push_job::PushJob;
use self::stdin::STDIN;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, FanoutOptions, Plan};
use crate::fleet::{self, Fleet};
use crate::output;
use crate::runtime::block_on;
use crate::status;
use crate::target::{Chosen, RemotePath, Targets};
use crate::tilde;
use crate::transfer::{Files, Listing, Many, Tally, Transfer, TransferOptions, last_word, shown};

/// How its command line goes.
const USAGE: &str = "lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>";

#[derive(clap::Args)]
#[command(override_usage = USAGE, after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and
for a file so does a directory that is there already. Missing parents are made. A relative or empty
DEST begins at the user's home; {host} in DEST is the host's name. A connection that breaks is made
again and the push goes on; one that was given up is run again, and only what is missing is sent.
Of a file that is there already only what differs is. For several hosts a file is read once.

Examples:
  lariat push app.tar.gz web1:/srv/            makes /srv/app.tar.gz
  lariat push nginx.conf web1:/etc/nginx/nginx.conf --backup
  lariat push *.conf web1:/etc/app/ --dry-run --checksum
  lariat push tool web1:/usr/local/bin/ --owner --special -X
  lariat push a.deb b.deb web1:/tmp/
  lariat push app.tar.gz 'web[01-20],@db:/srv/' --batch 25% --max-fail 2
  lariat push site web1:/srv/www --delete       makes /srv/www the copy of site
  lariat push site web1:/srv/www --delete --exclude '*.tmp' --dry-run
  pg_dump app | lariat push - web1:/backup/app.sql --compress
  lariat push --json app.tar.gz web1: | jq .reused")]
pub(crate) struct Args {
    /// Files and directories to send, - is stdin; and behind them TARGET:DEST, where to
    #[arg(value_name = "SOURCE", required = true)]
    words: Vec<OsString>,

    /// One JSON object for each host: host, ok, kind, files, bytes, sent, reused, changed, unchanged,
    /// deleted, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) options: TransferOptions,

    /// Give a host up that is not done after this time, with exit status 124 if it is the only one
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(mut args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let dest = args.dest()?;
    let RemotePath { target, path } = RemotePath::parse(&dest)?;
    match target.plain() {
        Some(chosen) => one(args, &path, &target, &chosen, context),
        None => many(args, (&dest, path), &target, context),
    }
}

impl Args {
    /// Takes the last of the words; the sources are left.
    fn dest(&mut self) -> Result<OsString, CliError> {
        last_word(&mut self.words, "TARGET:DEST", USAGE)
    }
}

/// What a step of a plan sends to `hosts`. Stdin is not for such.
pub(crate) fn of_plan(
    mut args: Args,
    hosts: &[HostName],
    at_once: usize,
) -> Result<PushJob, CliError> {
    let dest = args.dest()?;
    if args.words.iter().any(|source| source == STDIN) {
        return Err(CliError::new("a plan can't send stdin"));
    }
    let RemotePath { path, .. } = RemotePath::parse(&dest)?;
    let reconnect = args.connect.reconnect;
    let sources = args.words.into_iter().map(|word| tilde::local(&word)).collect();
    let options = args.options.shared_by(at_once);
    PushJob::new(sources, &path, options, args.timeout)?.of_plan(hosts, reconnect)
}

fn one(
    args: Args,
    dest: &[u8],
    target: &Targets,
    chosen: &Chosen,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let Args { words: sources, json, options, timeout, connect, fanout, .. } = args;
    let user = chosen.user(options.user.as_deref())?;
    let host = &chosen.host;
    let handle = match fanout.one(&connect, [target], chosen, context) {
        Ok(Some(handle)) => handle,
        Ok(None) => return Ok(ExitCode::SUCCESS),
        Err(error) => return Tally::only(End::Errored, error).report(host, json, context.verbose),
    };
    let job = PushJob::new(sources, dest, options, timeout)?;
    let listing = Listing::of_one(json);
    let tally = block_on(async {
        let work = async |files: &mut Files<'_>| {
            job.deliver(files, host, user.as_deref(), &listing).await;
        };
        Ok(Files::new(&handle, job.options(), &context.outages).within(timeout, work).await)
    })?;
    let code = tally.report(host, json, context.verbose)?;
    listing.finish().map(|()| code)
}

fn many(
    args: Args,
    (shown_dest, dest): (&OsString, Vec<u8>),
    target: &Targets,
    context: &Context,
) -> Result<ExitCode, CliError> {
    let Args { words: sources, json, options, timeout, connect, fanout, .. } = args;
    let fleet = Fleet::load(context, &connect)?;
    let hosts = fanout.hosts(target, &fleet, context)?;
    if hosts.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let what: Vec<String> = sources.iter().map(|source| shown(source).to_string()).collect();
    let what = format!("{} to {}", what.join(" "), shown(shown_dest));
    hosts.iter().try_for_each(|chosen| chosen.user(options.user.as_deref()).map(drop))?;
    let limits = fanout.limits();
    let (dry_run, options) = (options.dry_run, options.shared_by(limits.at_once(hosts.len())));
    let job = PushJob::new(sources, &dest, options, timeout)?.shared();
    let bad = job.bad();
    if bad.len() == job.len() {
        return nothing(bad, &hosts, json, context);
    }
    if !json {
        for error in &bad {
            error.report(context.verbose);
        }
    }
    let job = Arc::new(job);
    let names = hosts.iter().map(|chosen| chosen.host.clone()).collect();
    let plan = Plan::now("push", what, target.to_string(), names);
    let all = Arc::new((fleet, hosts));
    let transfer = move |number: usize, listing| -> Transfer {
        let (job, all) = (Arc::clone(&job), Arc::clone(&all));
        Box::pin(async move {
            let (fleet, hosts) = &*all;
            job.step(fleet, &hosts[number], &listing).await
        })
    };
    block_on(Many { context, plan, limits, json, dry_run }.run(transfer))
}

/// Nothing can be sent to any host: that is one failure of lariat itself, and no fan-out.
fn nothing(
    bad: Vec<CliError>,
    hosts: &[Chosen],
    json: bool,
    context: &Context,
) -> Result<ExitCode, CliError> {
    if !json {
        for error in &bad {
            error.report(context.verbose);
        }
        return Ok(ExitCode::from(status::FAILURE));
    }
    let mut tally = Tally::new();
    bad.into_iter().for_each(|error| tally.failed(End::Errored, error));
    for chosen in hosts {
        output::bytes(&tally.object(&chosen.host)?)?;
    }
    Ok(ExitCode::from(status::FAILURE))
}
