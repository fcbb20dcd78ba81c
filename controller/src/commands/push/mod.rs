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
use crate::shell_word::quoted;
use crate::target::{Chosen, RemotePath};
use crate::tilde;
use crate::transfer::{
    Tally, TransferOptions, TransferWork, check_local, last_word, no_remote_path, shown,
};

/// The usage line.
const USAGE: &str = "lariat push [OPTIONS] <SOURCE>... <TARGET:DEST>";

#[derive(clap::Args)]
#[command(override_usage = USAGE, after_long_help = "\
A directory goes into DEST under its own name, as with rsync; with a trailing slash (site/) its contents do. A \
file goes into DEST if that ends in / or is an existing directory; otherwise DEST is its new name. Missing \
parents are created. A relative or empty DEST begins at the user's home, and {host} in DEST is the host's name.

If the connection drops, lariat reconnects and resumes at the same byte. Run again after a failure, it sends \
only what is missing. Of an existing file only the differences are sent.

Examples:
  lariat push app.tar.gz web1:/srv/            makes /srv/app.tar.gz
  lariat push site/ web1:/srv/www --delete     makes /srv/www the copy of site
  lariat push site web1:/srv/www               makes /srv/www/site
  lariat push nginx.conf web1:/etc/nginx/nginx.conf --backup
  lariat push *.conf web1:/etc/app/ --dry-run --checksum
  lariat push tool web1:/usr/local/bin/ --owner --special -X
  lariat push app.tar.gz 'web[01-20],@db:/srv/' --batch 25% --max-fail 2
  pg_dump app | lariat push - web1:/backup/app.sql --compress
  lariat push --json app.tar.gz web1: | jq .reused")]
pub(crate) struct Args {
    /// What to send (- is stdin), then TARGET:DEST
    ///
    /// TARGET is a host (web1), a range (web[01-20]), a pattern ('web*'), @TAG or all, with USER@ before it to act as
    /// that user.
    #[arg(value_name = "SOURCE", required = true)]
    words: Vec<OsString>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, files, bytes, sent, reused, changed, unchanged, deleted, streams, seconds, error,
    /// and b3sum of a single file with --verify.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) options: TransferOptions,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. A single host that exceeds it is exit status 124. DUR is a number with a
    /// unit, ms, s, m, h or d; without a unit it is seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    pub(super) connect: fleet::ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(mut args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let words = args.words.clone();
    let dest = args.dest()?;
    let remote = RemotePath::parse(&dest);
    let RemotePath { target, path } =
        remote.map_err(|error| no_remote_path(error, ("push", "pull"), &args.words[0], &words))?;
    let Args { words: sources, json, options, timeout, connect, fanout } = args;
    check_local(&sources, &dest)?;
    let what: Vec<String> = sources.iter().map(|source| shown(source).to_string()).collect();
    let what = format!("{} to {}", what.join(" "), shown(&dest));
    let recorded = (!options.dry_run).then(|| Recorded::new("push", what));
    let (connect, fanout, targets) = (&connect, &fanout, vec![&target]);
    Verb { context, connect, fanout, targets, json, recorded }.run(async |hosts| {
        hosts.check_users(options.user.as_deref())?;
        let options = options.shared_by(fanout.limits().at_once(hosts.chosen.len()));
        let mut job = PushJob::new(sources, &path, options)?;
        job.tell_taken();
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
        let user = self.options.user.clone();
        last_word(&mut self.words, |word| {
            let (is_dest, word) = (RemotePath::parse(word).is_ok(), quoted(word));
            let taken = user.map(|user| format!(" (-u has taken {user} for a user)"));
            let taken = taken.unwrap_or_default();
            if is_dest {
                ("push: SOURCE", format!("lariat push SOURCE {word}{taken}"))
            } else {
                ("push: TARGET:DEST", format!("lariat push {word} TARGET:DEST{taken}"))
            }
        })
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
