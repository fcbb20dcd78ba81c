//! `lariat kill`: sends a signal to a job.

use std::cell::Cell;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat_base::name::{HostName, JobId};
use lariat_client::{Broken, Session};
use lariat_wire::protocol::exec::Signal;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::job::{Job, Kill, Killed, State};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, Fanout, HostContext, HostWork, within};
use crate::jobs::{self, Found, Prefix, Searched, Unnamed, Whom, Wish};
use crate::output;
use crate::output::json::{self, JobResult};
use crate::runtime::block_on;
use crate::signal_name::signal_name;

#[derive(clap::Args)]
#[command(after_long_help = "\
The signal goes to every process of the job, including those that left its process group or session. Of several \
hosts, all on which the job runs are found: those of one lariat run --detach have one id.

Examples:
  lariat kill web1 3f2a
  lariat kill @web 3f2a                (on all of them that have it)
  lariat kill web1 3f2a -s KILL
  lariat kill web1 3f2a -s HUP")]
pub(crate) struct Args {
    /// Job id, or its beginning
    ///
    /// The default, on one host: the only running detached job.
    #[arg(value_name = "JOB", index = 2)]
    job: Option<Prefix>,

    /// Signal, such as KILL, HUP or 15
    #[arg(short, long, value_name = "SIG", default_value = "TERM")]
    signal: SignalName,

    /// Print one JSON object per host
    ///
    /// It is the job as lariat jobs shows it, or has the error. A host without the job has an object too.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    whom: Whom,
}

/// A Linux signal number.
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
    let Args { whom, job, signal: SignalName(signal), json } = args;
    if whom.target.plain().is_none() && job.is_none() {
        let message = format!("kill: {} names several hosts; the job must be named", whom.target);
        return Err(CliError::new(message).hint(format!("lariat jobs {}", whom.target.quoted())));
    }
    let wish = Wish { prefix: job.clone(), unnamed: Unnamed::Only, all_keys: whom.all_keys };
    let killing = |wish| Killing { wish, signal: *signal, json: *json, limit: whom.timeout };
    if whom.target.plain().is_some() {
        return whom.verb(context, *json).run(async |hosts| {
            whom.check(&hosts.chosen)?;
            Ok(killing(wish))
        });
    }
    block_on(async {
        // All are asked first: a beginning that is not unique kills nothing.
        let found = match jobs::find(whom, &wish, context, "kill", *json).await? {
            Searched::Found(found) => found,
            Searched::Over(status) => return Ok(ExitCode::from(status)),
        };
        let Found { fleet, hosts, wish, without, failed } = found;
        let (running, ended): (Vec<_>, Vec<_>) =
            hosts.into_iter().partition(|(_, job)| job.state == State::Running);
        if running.is_empty() {
            let message = "kill: the job has ended on every host that has it";
            let error = CliError::new(message);
            let error = error.hint(format!("lariat jobs {}", whom.target.quoted()));
            let holders = ended.iter().map(|(chosen, _)| &chosen.host);
            jobs::put_without(holders.chain(&without), Some(&error), *json)?;
            return Err(error);
        }
        for (chosen, job) in ended.iter().filter(|_| *json) {
            // A job that has ended shows nothing that depends on the host's time now.
            let now_ms = job.ended_ms.unwrap_or_default();
            output::bytes(&json::line(&jobs::object(&chosen.host, job, now_ms))?)?;
        }
        jobs::put_without(&without, None, *json)?;
        let running = running.into_iter().map(|(chosen, _)| chosen).collect();
        let fanout = Fanout::look(context, running, whom.fanout.limits(), *json)?;
        let (status, ()) = fanout.after(failed).run(fleet, Arc::new(killing(wish))).await?;
        Ok(ExitCode::from(status))
    })
}

/// The work on the host.
struct Killing {
    wish: Wish,
    signal: u8,
    json: bool,
    limit: Option<Duration>,
}

impl HostWork for Killing {
    /// The job before the signal, and the host's time then.
    type Outcome = (Job, u64);
    type Total = ();

    async fn on(&self, host: HostContext<'_>) -> Result<(Job, u64), Failed> {
        let (handle, limit) = (&host.handle, self.limit);
        let name = handle.name();
        let began = Instant::now();
        let listed = jobs::list(handle, &self.wish, limit).await;
        let (session, listed) = listed.map_err(|failed| failed.before("kill on"))?;
        let now_ms = session.welcome.time_ms;
        let job = self.wish.one_of(name, listed);
        let job = job.map_err(|error| error.during(format!("kill on {name}")))?;
        let (signal, once) =
            (Signal { number: self.signal }, JobId::generate().map_err(CliError::from)?.0);
        // The host recognizes a repeated request by its random bytes, and sends the signal once.
        let kill = Kill { job: job.job, signal, once, all_keys: self.wish.all_keys };
        let may_be_sent = Cell::new(false);
        let told = async {
            let answer = async |session: &mut Session| answer(session, &may_be_sent).await;
            let (session, ()) = handle.ask_on(Some(session), &kill, &may_be_sent, answer).await?;
            session.leave().await;
            Ok(())
        };
        let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
        within(left, handle, Box::pin(told)).await.map_err(|failed| {
            let Failed { end, error } = failed.before("kill on");
            if !may_be_sent.get() {
                return Failed { end, error };
            }
            let (job, signal) = (kill.job, signal_name(self.signal));
            let error = error.next(format!(
                "it is not known whether {signal} was sent; see: lariat jobs {name} {job}"
            ));
            Failed { end, error }
        })?;
        Ok((job, now_ms))
    }

    fn report(
        &self,
        (): &mut (),
        host: &HostName,
        outcome: Result<(Job, u64), Failed>,
    ) -> (Vec<u8>, Ended) {
        let told = outcome.map_err(CliError::from).and_then(|(job, now_ms)| {
            if self.json {
                return json::line(&jobs::object(host, &job, now_ms));
            }
            let name = signal_name(self.signal);
            let (id, command) = (jobs::short(&job), jobs::command(&job));
            Ok(format!("{host}: {name} sent to job {id} ({command})\n").into_bytes())
        });
        match told {
            Ok(told) => (told, Ended::ok()),
            Err(error) => self.failed(self.json, host, error),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::line(&JobResult::failed(host, error))
    }
}

/// Reads the answer to a signal, and records in `may_be_sent` whether the signal may have been sent.
async fn answer(session: &mut Session, may_be_sent: &Cell<bool>) -> Result<(), Broken> {
    let before = may_be_sent.replace(true);
    let answered = session.answer().await.map(|Killed| ());
    if let Err(Broken::Failed(failure)) = &answered {
        // A refusal means that the signal was not sent, except that the job may have ended after an earlier
        // attempt sent it.
        may_be_sent.set(before && failure.cause == Cause::Over);
    }
    answered
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
