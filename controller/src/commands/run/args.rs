//! The arguments of `lariat run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::output::OutputOptions;
use crate::fanout::FanoutOptions;
use crate::fleet;
use crate::target::Targets;

#[derive(clap::Args)]
#[command(after_help = "\
One word after -- is a line for /bin/sh; several are a program and its arguments, with no shell.
The exit status is the command's own; 128+N if signal N ended it, 124 if --timeout did, 126 or 127
if it could not be run, and 255 if lariat itself failed. With --from it is that of the first command
that did not succeed; the others run all the same.

Examples:
  lariat run web1 -- uptime
  lariat run web1 -- 'cd /var/log && tail -n 5 *.log'
  lariat run web1 -i -- tar -x -C /srv < site.tar
  lariat run web1 --timeout 5m -- apt-get -y upgrade
  lariat run deploy@web1 --cwd /srv/app -- git pull
  lariat run web1 --script ./deploy.sh -- v1.2 --quick
  lariat run web1 --from commands.txt
  lariat run web1 --detach -- make world        (then: lariat jobs, logs, attach, kill)")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Which hosts
    #[arg(value_name = "TARGET")]
    pub(super) target: Targets,

    /// Send stdin to the command, which otherwise reads /dev/null
    #[arg(short, long, overrides_with = "no_stdin")]
    pub(super) interactive: bool,

    /// Connect the command's stdin to /dev/null, which is the default, as with ssh -n
    #[arg(short = 'n', overrides_with = "interactive")]
    pub(super) no_stdin: bool,

    /// Run it as this user of the host, instead of as the agent's own; the same as NAME@HOST
    #[arg(short, long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// Run it in this directory; relative to the user's home, which is the default
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<OsString>,

    /// Add a variable to its environment; can be repeated
    #[arg(long, value_name = "K=V")]
    pub(super) env: Vec<OsString>,

    /// End it after this time, with exit status 124. Connecting may take as long before that, at least one
    /// second
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    pub(super) timeout: Option<Duration>,

    #[command(flatten)]
    pub(in crate::commands) connect: fleet::ReachOptions,

    /// One JSON object with its output instead of the output itself
    #[arg(long)]
    pub(super) json: bool,

    /// Send this local script and run it; the words after -- are its arguments
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub(super) script: Option<PathBuf>,

    /// Run each line of this file (- is stdin) as a command, in order, over one session
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interactive", "command"])]
    pub(super) from: Option<PathBuf>,

    /// Start it and return: print the job's id, as the last word of one line
    #[arg(long, conflicts_with_all = ["interactive", "from", "gather", "diff", "out", "tty"])]
    pub(super) detach: bool,

    /// Run nothing: ask the hosts whether this key may run it there
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Run it in a terminal like the local one; with stdin, if that is a terminal or with -i
    #[arg(short, long, conflicts_with_all = ["from", "gather", "diff", "out", "json"])]
    pub(super) tty: bool,

    /// Replace {host} in the words after -- by the host's name; {{ and }} stand for braces
    #[arg(long, conflicts_with = "from")]
    pub(super) expand: bool,

    #[command(flatten)]
    pub(super) output: OutputOptions,

    #[command(flatten)]
    pub(super) fanout: FanoutOptions,

    /// The command
    #[arg(last = true, required_unless_present_any = ["script", "from"], value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}
