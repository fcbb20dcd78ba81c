//! `lariat kill`: a signal for a job.

use std::process::ExitCode;
use std::str::FromStr;

use lariat_common::link::LinkError;
use lariat_common::protocol::failure::Failure;
use lariat_common::protocol::job::{Kill, Killed};
use lariat_common::protocol::{Kind, Message};

use crate::connect::Session;
use crate::context::Context;
use crate::error::CliError;
use crate::jobs::{self, Prefix, Unnamed};
use crate::output;
use crate::reach::ReachOptions;
use crate::runtime::block_on;
use crate::target::Targets;

#[derive(clap::Args)]
#[command(after_help = "\
Every process of the job gets the signal, those that have left its process group and session included.

Examples:
  lariat kill web1 3f2a
  lariat kill web1 3f2a -s KILL
  lariat kill web1 3f2a -s HUP")]
pub(crate) struct Args {
    /// Which host
    #[arg(value_name = "TARGET")]
    target: Targets,

    /// Which job: its id or the beginning of it [default: the only detached one that runs]
    #[arg(value_name = "JOB")]
    job: Option<Prefix>,

    /// Which signal: TERM, KILL, HUP, INT, USR1, 15, ...
    #[arg(short, long, value_name = "SIG", default_value = "TERM")]
    signal: SignalName,

    #[command(flatten)]
    connect: ReachOptions,
}

/// A signal's number on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SignalName(u8);

#[derive(Debug, thiserror::Error)]
#[error("there is no signal {0:?} (TERM, KILL, HUP, INT, USR1, ..., or 1 to 64)")]
struct BadSignal(String);

impl FromStr for SignalName {
    type Err = BadSignal;

    fn from_str(text: &str) -> Result<Self, BadSignal> {
        if let Ok(number @ 1..=64) = text.parse() {
            return Ok(Self(number));
        }
        let upper = text.to_ascii_uppercase();
        let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let signal = nix::sys::signal::Signal::from_str(&name).ok();
        let number = signal.and_then(|signal| u8::try_from(signal as i32).ok());
        number.map(Self).ok_or_else(|| BadSignal(text.to_owned()))
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let reach = jobs::reach(context, &args.target, &args.connect)?;
    let name = &reach.peer.name;
    let SignalName(signal) = args.signal;
    let told = block_on(async {
        let (session, listed) = jobs::list(&reach, args.job.as_ref()).await?;
        let job = jobs::choose(name, &listed, args.job.as_ref(), Unnamed::Only)?;
        kill(session, Kill { job: job.job, signal }).await?;
        let (id, command) = (jobs::short(&job), jobs::command(&job));
        Ok(format!("{name}: signal {signal} sent to job {id} ({command})"))
    });
    output::line(&told.map_err(|error| error.during(format!("kill on {name}")))?)?;
    Ok(ExitCode::SUCCESS)
}

async fn kill(Session { mut link, .. }: Session, kill: Kill) -> Result<(), CliError> {
    link.send(&kill).await?;
    match link.next().await?.ok_or(LinkError::Cut)?.kind {
        Killed::KIND => {
            let Killed = link.reader.message()?;
        }
        Kind::Failed => return Err(link.reader.message::<Failure>()?.into()),
        other => return Err(LinkError::Unexpected(other).into()),
    }
    // Whether the agent hears that we leave changes nothing.
    let _ = link.writer.finish().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        let number = |text: &str| text.parse::<SignalName>().ok().map(|signal| signal.0);
        assert_eq!(
            (number("TERM"), number("sigkill"), number("usr1")),
            (Some(15), Some(9), Some(10))
        );
        assert_eq!((number("1"), number("64")), (Some(1), Some(64)));
        for bad in ["", "0", "65", "-1", "SIG", "FROB"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
