//! The arguments of `lariat run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::output::OutputOptions;
use crate::encoding::EncodingOption;
use crate::fanout::FanoutOptions;
use crate::fleet;
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
A single argument after -- is passed to /bin/sh -c. Two or more are executed directly, without a shell.

The exit status is the command's own; 128+N if signal N ended it, 124 if --timeout did, 126 or 127 if it could \
not be run, and 255 if lariat itself failed. On several hosts it is 1 if a command failed, and 255 if a host \
could not be reached. With --from it is that of the first command that failed; the later ones run nevertheless.

Examples:
  lariat run web1 -- uptime
  lariat run web1 -- 'cd /var/log && tail -n 5 *.log'
  lariat run web1 -i -- tar -x -C /srv < site.tar
  lariat run web1 --timeout 5m -- apt-get -y upgrade
  lariat run deploy@web1 --cwd /srv/app -- git pull
  lariat run web1 --script ./deploy.sh -- v1.2 --quick
  lariat run web1 --from commands.txt
  lariat run all --gather -- uname -r
  lariat run web1 --detach -- make world")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    pub(super) target: Targets,

    /// Send stdin to the command
    #[arg(short, long, overrides_with = "no_stdin")]
    pub(super) interactive: bool,

    /// Stdin from /dev/null (the default), as with ssh -n
    #[arg(short = 'n', overrides_with = "interactive", hide_short_help = true)]
    pub(super) no_stdin: bool,

    /// Run as this user of the host
    ///
    /// The default is the agent's own user. The same as NAME@HOST in TARGET.
    #[arg(short, long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// Working directory [default: the user's home]
    ///
    /// A relative path begins at the user's home.
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<OsString>,

    /// Set an environment variable; repeatable
    #[arg(long, value_name = "K=V")]
    pub(super) env: Vec<OsString>,

    /// Time limit, such as 30s, 5m or 2h
    ///
    /// The command is ended after it, with exit status 124. Connecting may take as long before that, at least one
    /// second. DUR is a number with a unit, ms, s, m, h or d; without a unit it is seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    pub(super) timeout: Option<Duration>,

    #[command(flatten)]
    pub(in crate::commands) connect: fleet::ReachOptions,

    /// Print one JSON object per host, with the output
    ///
    /// Its fields: host, ok, kind, exit, signal, stdout, stderr, seconds, error, and job of a detached command.
    #[arg(long)]
    pub(super) json: bool,

    /// Run a local script; arguments follow --
    #[arg(long, value_name = "FILE", conflicts_with = "from", hide_short_help = true)]
    pub(super) script: Option<PathBuf>,

    /// Run each line of a file (- is stdin)
    ///
    /// The lines are run in order, over one session.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interactive", "command"], hide_short_help = true)]
    pub(super) from: Option<PathBuf>,

    /// Start the command and print its job id
    ///
    /// The id is the last word of one line. See lariat jobs, logs, attach and kill.
    #[arg(long, conflicts_with_all = ["interactive", "from", "gather", "diff", "out", "tty", "encoding"])]
    pub(super) detach: bool,

    /// Ask whether it is permitted; run nothing
    #[arg(long, hide_short_help = true)]
    pub(super) dry_run: bool,

    /// Run in a terminal
    ///
    /// It has the size of the local one. Stdin is sent if it is a terminal, or with -i.
    #[arg(short, long, conflicts_with_all = ["from", "gather", "diff", "out", "json"])]
    pub(super) tty: bool,

    /// Replace {host} in the command
    ///
    /// It is replaced by the host's name; {{ and }} stand for braces.
    #[arg(long, conflicts_with = "from", hide_short_help = true)]
    pub(super) expand: bool,

    #[command(flatten)]
    pub(super) encoding: EncodingOption,

    #[command(flatten)]
    pub(super) output: OutputOptions,

    #[command(flatten)]
    pub(super) fanout: FanoutOptions,

    /// The command
    #[arg(last = true, required_unless_present_any = ["script", "from"], value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}
