//! `lariat push`: sends files and directories to hosts.

mod file;
mod push_job;
mod stdin;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use lariat_base::name::HostName;

pub(crate) use self::push_job::PushJob;
use self::stdin::STDIN;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{End, FanoutOptions, Recorded, Verb};
use crate::fleet;
use crate::output;
use crate::target::{Chosen, RemotePath};
use crate::tilde;
use crate::transfer::{Tally, TransferOptions, TransferWork, last_word, shown};

/// The usage line.
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
    /// Files and directories to send (- is stdin), followed by the destination TARGET:DEST
    #[arg(value_name = "SOURCE", required = true)]
    words: Vec<OsString>,

    /// One JSON object for each host: host, ok, kind, files, bytes, sent, reused, changed, unchanged,
    /// deleted, streams, seconds, error
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) options: TransferOptions,

    /// Time limit for each host, with exit status 124 if it is the only one
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    pub(super) connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(mut args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let dest = args.dest()?;
    let RemotePath { target, path } = RemotePath::parse(&dest)?;
    let Args { words: sources, json, options, timeout, connect, fanout } = args;
    let what: Vec<String> = sources.iter().map(|source| shown(source).to_string()).collect();
    let what = format!("{} to {}", what.join(" "), shown(&dest));
    let recorded = (!options.dry_run).then(|| Recorded::new("push", what));
    let (connect, fanout, targets) = (&connect, &fanout, vec![&target]);
    Verb { context, connect, fanout, targets, json, recorded }.run(async |hosts| {
        hosts.check_users(options.user.as_deref())?;
        let options = options.shared_by(fanout.limits().at_once(hosts.chosen.len()));
        let mut job = PushJob::new(sources, &path, options)?;
        if hosts.are_several {
            job = job.shared();
            tell_bad(&job, &hosts.chosen, json, context)?;
        }
        Ok(TransferWork { job, timeout, json })
    })
}

impl Args {
    /// Removes the last word, the destination; the sources remain.
    fn dest(&mut self) -> Result<OsString, CliError> {
        last_word(&mut self.words, "TARGET:DEST", USAGE)
    }
}

/// The work of a plan's step for `hosts`. It can't push stdin.
pub(crate) fn of_plan(
    mut args: Args,
    hosts: &[HostName],
    at_once: usize,
) -> Result<TransferWork<PushJob>, CliError> {
    let dest = args.dest()?;
    if args.words.iter().any(|source| source == STDIN) {
        return Err(CliError::new("a plan can't send stdin"));
    }
    let RemotePath { path, .. } = RemotePath::parse(&dest)?;
    let sources = args.words.into_iter().map(|word| tilde::local(&word)).collect();
    let job = PushJob::new(sources, &path, args.options.shared_by(at_once))?.of_plan(hosts)?;
    Ok(TransferWork { job, timeout: args.timeout, json: false })
}

/// Reports sources that can't be sent to any host. If none can be sent, no host is contacted.
fn tell_bad(
    job: &PushJob,
    hosts: &[Chosen],
    json: bool,
    context: &Context,
) -> Result<(), CliError> {
    let bad = job.bad();
    if !json {
        for error in &bad {
            error.report(context.verbose);
        }
    }
    if bad.len() < job.len() {
        return Ok(());
    }
    let mut tally = Tally::default();
    bad.into_iter().for_each(|error| tally.failed(End::Errored, error));
    for chosen in hosts.iter().filter(|_| json) {
        output::bytes(&tally.object(&chosen.host)?)?;
    }
    Err(CliError::new("nothing can be sent").quiet())
}
