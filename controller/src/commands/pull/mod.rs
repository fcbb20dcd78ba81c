//! `lariat pull`: fetches files and directories from hosts.

mod item;
mod pull_job;
mod stdout;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) use self::pull_job::PullJob;
use self::stdout::STDOUT;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{FanoutOptions, Recorded, Verb};
use crate::fleet;
use crate::inventory::Inventory;
use crate::shell_word::quoted;
use crate::target::RemotePath;
use crate::template::Template;
use crate::transfer::{
    TransferOptions, TransferWork, check_local_dest, check_sources, last_word, no_remote_path,
    shown,
};

/// The usage line.
const USAGE: &str = "lariat pull [OPTIONS] <TARGET:SOURCE>... <DEST>";

#[derive(clap::Args)]
#[command(override_usage = USAGE, after_long_help = "\
A directory goes into DEST under its own name, as with rsync; with a trailing slash its contents do. A file goes \
into DEST if that ends in / or is an existing directory; otherwise DEST is its new name. From several hosts, \
files go into DEST/HOST/, unless {host}, the host's name, is in DEST.

If the connection drops, lariat reconnects and resumes at the same byte. Run again after a failure, it fetches \
only what is missing. Of an existing file only the differences are fetched.

Examples:
  lariat pull web1:/var/log/syslog .
  lariat pull web1:/etc/hosts web1-hosts
  lariat pull web1:/etc/nginx/ nginx --delete
  lariat pull web1:/backup/app.sql - --compress | less
  lariat pull web1:/var/log/syslog web2:/var/log/syslog logs
  lariat pull @web:/etc/hostname names         makes names/web1/hostname and so on
  lariat pull @web:/etc/hostname 'names/{host}'")]
pub(crate) struct Args {
    /// What to fetch, then DEST (- is stdout)
    ///
    /// TARGET is a host (web1), a range (web[01-20]), a pattern ('web*'), @TAG or all, with USER@ before it to act as
    /// that user. Relative paths begin at the user's home.
    #[arg(value_name = "TARGET:SOURCE", required = true)]
    words: Vec<OsString>,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, files, bytes, sent, reused, changed, unchanged, deleted, streams, seconds, error,
    /// and b3sum of a single file with --verify.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: TransferOptions,

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
    let sources = args.words.iter().map(|source| RemotePath::parse(source));
    let sources: Vec<RemotePath> = sources
        .collect::<Result<_, _>>()
        .map_err(|error| no_remote_path(error, ("pull", "push"), &dest, &words))?;
    if let Some(place) = sources.iter().position(|source| source.path.is_empty()) {
        let word = shown(&args.words[place]);
        let error = CliError::new(format!("{word} names no file or directory"));
        return Err(error.hint(format!("{word}PATH, or {word}. for the whole home directory")));
    }
    let is_host = |remote: &RemotePath| {
        let inventory = context.home().and_then(|home| Inventory::load(&home));
        inventory.is_ok_and(|inventory| remote.target.select(&inventory).is_ok())
    };
    check_local_dest(&dest, &args.words, is_host)?;
    let stdout = dest.as_bytes() == STDOUT;
    let is_several = sources.len() > 1 || sources.iter().any(|s| s.target.plain().is_none());
    if stdout && (is_several || args.json) {
        return Err(CliError::new("only one file can go to stdout, and nothing else with it"));
    }
    if stdout && args.options.dry_run {
        return Err(CliError::new("--dry-run lists nothing for stdout"));
    }
    let Args { words, json, options, timeout, connect, fanout } = args;
    let what: Vec<String> = words.iter().map(|source| shown(source).to_string()).collect();
    let what = format!("{} to {}", what.join(" "), shown(&dest));
    let recorded = (!options.dry_run).then(|| Recorded::new("pull", what));
    let targets = sources.iter().map(|source| &source.target).collect();
    let (connect, fanout) = (&connect, &fanout);
    Verb { context, connect, fanout, targets, json, recorded }.run(async |hosts| {
        for mine in &hosts.named_by {
            let paths = mine.iter().map(|&number| sources[number].path.as_slice());
            check_sources(paths, options.delete, options.lists())?;
        }
        hosts.check_users(options.user.as_deref())?;
        let paths = sources.iter().map(|source| Template::plain(&source.path)).collect();
        let options = options.shared_by(fanout.limits().at_once(hosts.chosen.len()));
        let (several, by_host) = (hosts.are_several, hosts.named_by.clone());
        let job = PullJob::new(paths, dest.as_bytes(), options, several, by_host)?;
        Ok(TransferWork { job, timeout, json })
    })
}

impl Args {
    /// Removes the last word, the destination; the sources remain.
    fn dest(&mut self) -> Result<OsString, CliError> {
        last_word(&mut self.words, |word| {
            let (is_source, word) = (RemotePath::parse(word).is_ok(), quoted(word));
            if is_source {
                ("pull: DEST", format!("lariat pull {word} ."))
            } else {
                ("pull: TARGET:SOURCE", format!("lariat pull TARGET:SOURCE {word}"))
            }
        })
    }
}

/// The work of a plan's step. It can't pull to stdout.
pub(crate) fn of_plan(mut args: Args, at_once: usize) -> Result<TransferWork<PullJob>, CliError> {
    let dest = args.dest()?;
    if dest.as_bytes() == STDOUT {
        return Err(CliError::new("a plan can't pull to stdout"));
    }
    let path = |source: &OsString| RemotePath::parse(source).map(|remote| remote.path);
    let paths = args.words.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    check_sources(paths.iter().map(Vec::as_slice), args.options.delete, args.options.lists())?;
    let paths = paths.iter().map(|path| Template::parse(path)).collect::<Result<_, _>>()?;
    let options = args.options.shared_by(at_once);
    let job = PullJob::new(paths, dest.as_bytes(), options, true, Vec::new())?;
    Ok(TransferWork { job, timeout: args.timeout, json: false })
}
