//! `lariat pull`: fetches files and directories from hosts.

mod item;
mod pull_job;
mod stdout;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::pull_job::PullJob;
use self::stdout::STDOUT;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, FanoutOptions, Plan};
use crate::fleet::{self, Fleet};
use crate::runtime::block_on;
use crate::target::{Chosen, RemotePath};
use crate::template::Template;
use crate::transfer::{
    Files, Listing, Many, Tally, Transfer, TransferOptions, check_sources, last_word, shown,
};

/// How its command line goes.
const USAGE: &str = "lariat pull [OPTIONS] <TARGET:SOURCE>... <DEST>";

#[derive(clap::Args)]
#[command(override_usage = USAGE, after_help = "\
DEST is the name that the source gets; DEST/ means inside it, under the source's own name, and
for a file so does a directory that is there already. {host} in DEST is the host's name; from several
hosts, files go into DEST/HOST/ without it. A connection that breaks is made again and the pull goes
on; one that was given up is run again, and only what is missing is sent. Of a file that is there
already only what differs is.

Examples:
  lariat pull web1:/var/log/syslog .
  lariat pull web1:/etc/hosts web1-hosts
  lariat pull web1:/backup/app.sql - --compress | less
  lariat pull web1:/var/log/syslog web2:/var/log/syslog logs
  lariat pull @web:/etc/hostname names          makes names/web1/hostname and so on
  lariat pull @web:/etc/hostname 'names/{host}'
  lariat pull web1:/etc/nginx nginx --delete")]
pub(crate) struct Args {
    /// Files and directories to fetch, a relative path begins at the user's home; and behind them DEST, where
    /// to, - is stdout
    #[arg(value_name = "TARGET:SOURCE", required = true)]
    words: Vec<OsString>,

    /// One JSON object for each host: host, ok, kind, files, bytes, sent, reused, changed, unchanged,
    /// deleted, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: TransferOptions,

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
    let sources: Vec<RemotePath> =
        args.words.iter().map(|source| RemotePath::parse(source)).collect::<Result<_, _>>()?;
    if let Some(place) = sources.iter().position(|source| source.path.is_empty()) {
        let word = shown(&args.words[place]);
        let error = CliError::new(format!("{word} names no file or directory"));
        return Err(error.hint(format!("{word}PATH, or {word}. for the whole home directory")));
    }
    let stdout = dest.as_bytes() == STDOUT;
    let one_host = one_host(&sources);
    if stdout && (sources.len() > 1 || one_host.is_none() || args.json) {
        return Err(CliError::new("only one file can go to stdout, and nothing else with it"));
    }
    if stdout && args.options.dry_run {
        return Err(CliError::new("--dry-run has nothing to tell of what goes to stdout"));
    }
    match one_host {
        Some(chosen) => one(args, &chosen, (sources, &dest), context),
        None => many(args, (sources, &dest), context),
    }
}

impl Args {
    /// Takes the last of the words; the sources are left.
    fn dest(&mut self) -> Result<OsString, CliError> {
        last_word(&mut self.words, "DEST", USAGE)
    }
}

/// What a step of a plan fetches. Stdout is not for such.
pub(crate) fn of_plan(mut args: Args, at_once: usize) -> Result<PullJob, CliError> {
    let dest = args.dest()?;
    if dest.as_bytes() == STDOUT {
        return Err(CliError::new("a plan can't pull to stdout"));
    }
    let path = |source: &OsString| RemotePath::parse(source).map(|remote| remote.path);
    let paths = args.words.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    check_sources(paths.iter().map(Vec::as_slice), args.options.delete, args.options.lists())?;
    let paths = paths.iter().map(|path| Template::parse(path)).collect::<Result<_, _>>()?;
    let options = args.options.shared_by(at_once);
    let job = PullJob::new(paths, dest.as_bytes(), options, true, args.timeout)?;
    Ok(job.of_plan(args.connect.reconnect))
}

/// The host, if there is only one and it is named.
fn one_host(sources: &[RemotePath]) -> Option<Chosen> {
    let first = sources.first()?.target.plain()?;
    let same = |source: &RemotePath| source.target.plain().is_some_and(|chosen| chosen == first);
    sources.iter().all(same).then_some(first)
}

fn one(
    args: Args,
    chosen: &Chosen,
    (sources, dest): (Vec<RemotePath>, &OsString),
    context: &Context,
) -> Result<ExitCode, CliError> {
    let Args { json, options, timeout, connect, fanout, .. } = args;
    check_sources(
        sources.iter().map(|source| source.path.as_slice()),
        options.delete,
        options.lists(),
    )?;
    let user = chosen.user(options.user.as_deref())?;
    let host = &chosen.host;
    let targets = sources.iter().map(|source| &source.target);
    let handle = match fanout.one(&connect, targets, chosen, context) {
        Ok(Some(handle)) => handle,
        Ok(None) => return Ok(ExitCode::SUCCESS),
        Err(error) => return Tally::only(End::Errored, error).report(host, json, context.verbose),
    };
    let paths: Vec<_> = sources.iter().map(|source| Template::plain(&source.path)).collect();
    let job = PullJob::new(paths, dest.as_bytes(), options, false, timeout)?;
    let all = job.all();
    let listing = Listing::of_one(json);
    let tally = block_on(async {
        let work = async |files: &mut Files<'_>| {
            job.fetch(files, &handle, user.as_deref(), &all, &listing).await;
        };
        Ok(Files::new(&handle, job.options(), &context.outages).within(timeout, work).await)
    })?;
    let code = tally.report(host, json, context.verbose)?;
    listing.finish().map(|()| code)
}

fn many(
    args: Args,
    (sources, dest): (Vec<RemotePath>, &OsString),
    context: &Context,
) -> Result<ExitCode, CliError> {
    let Args { words, json, options, timeout, connect, fanout, .. } = args;
    let fleet = Fleet::load(context, &connect)?;
    let by_host = by_host(&sources, &fanout, &fleet, context)?;
    if by_host.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for (_, mine) in &by_host {
        let paths = mine.iter().map(|&number| sources[number].path.as_slice());
        check_sources(paths, options.delete, options.lists())?;
    }
    let mut targets: Vec<String> = sources.iter().map(|s| s.target.to_string()).collect();
    targets.dedup();
    let what: Vec<String> = words.iter().map(|source| shown(source).to_string()).collect();
    let what = format!("{} to {}", what.join(" "), shown(dest));
    let paths = sources.iter().map(|source| Template::plain(&source.path)).collect();
    let names = by_host.iter().map(|(chosen, _)| chosen.host.clone()).collect();
    by_host.iter().try_for_each(|(chosen, _)| chosen.user(options.user.as_deref()).map(drop))?;
    let limits = fanout.limits();
    let (dry_run, options) = (options.dry_run, options.shared_by(limits.at_once(by_host.len())));
    let job = Arc::new(PullJob::new(paths, dest.as_bytes(), options, true, timeout)?);
    let plan = Plan::now("pull", what, targets.join(","), names);
    let all = Arc::new((fleet, by_host));
    let transfer = move |number: usize, listing| -> Transfer {
        let (job, all) = (Arc::clone(&job), Arc::clone(&all));
        Box::pin(async move {
            let (fleet, by_host) = &*all;
            let (chosen, mine) = &by_host[number];
            job.step(fleet, chosen, mine, &listing).await
        })
    };
    block_on(Many { context, plan, limits, json, dry_run }.run(transfer))
}

/// The numbers of each host's sources, hosts in the order in which they were first named.
fn by_host(
    sources: &[RemotePath],
    fanout: &FanoutOptions,
    fleet: &Fleet,
    context: &Context,
) -> Result<Vec<(Chosen, Vec<usize>)>, CliError> {
    let mut hosts: Vec<(Chosen, Vec<usize>)> = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        for chosen in fanout.hosts(&source.target, fleet, context)? {
            match hosts.iter_mut().find(|(host, _)| *host == chosen) {
                Some((_, mine)) => mine.push(number),
                None => hosts.push((chosen, vec![number])),
            }
        }
    }
    Ok(hosts)
}
