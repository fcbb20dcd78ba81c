//! The one host that a verb for one host is about: it is named, or it is the one of several that has
//! the job.

use std::process::ExitCode;

use lariat_base::name::HostName;
use lariat_client::HostHandle;
use lariat_wire::protocol::job::Job;

use super::{Prefix, Several, Whom, Wish, list};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Ended, Failed, Fanout, Report};
use crate::target::Chosen;

/// Where a job is.
pub(crate) struct Found {
    /// On this host.
    pub(crate) handle: HostHandle,
    /// Which of the host's jobs it is.
    pub(crate) wish: Wish,
    /// What is left to say of the hosts that were looked through.
    pub(crate) code: ExitCode,
}

/// Finds the host; none if no host is left to be tried again. Needs a runtime around it.
pub(crate) async fn find(
    whom: &Whom,
    wish: Wish,
    context: &Context,
    verb: &'static str,
) -> Result<Option<Found>, CliError> {
    if let Some(host) = whom.plain()? {
        let handle = whom.handle(&host, context)?;
        return Ok(handle.map(|handle| Found { handle, wish, code: ExitCode::SUCCESS }));
    }
    let several = whom.several(context)?;
    if several.hosts.is_empty() {
        return Ok(None);
    }
    let fanout = Fanout::search(context, several.names(), whom.fanout.limits())?;
    let mut told = Candidates { verb, hosts: Vec::new() };
    let (asked, limit) = (wish.clone(), whom.timeout);
    let question = async move |_, handle: &HostHandle| {
        let (session, jobs) = list(handle, asked.prefix.as_ref(), limit).await?;
        session.leave().await;
        Ok(asked.candidates(jobs))
    };
    let Several { fleet, hosts } = several;
    let code = fanout.ask(fleet.clone(), hosts, question, &mut told).await?;
    if told.hosts.is_empty() {
        let message = format!("{verb}: no host of {} answered", whom.target);
        return Err(CliError::new(message).hint(format!("lariat ping {}", whom.target.quoted())));
    }
    let (host, job) = wish.host(&whom.target, &told.hosts).map_err(|e| e.during(verb))?;
    let chosen = Chosen { host: host.clone(), user: None };
    let wish = Wish { prefix: Some(Prefix::from(job)), ..wish };
    Ok(Some(Found { handle: fleet.host(&chosen)?, wish, code }))
}

/// What hosts have told.
struct Candidates {
    verb: &'static str,
    hosts: Vec<(HostName, Vec<Job>)>,
}

impl Report for Candidates {
    type Outcome = Result<Vec<Job>, Failed>;

    fn ended(&mut self, host: &HostName, came: Self::Outcome) -> Ended {
        match came {
            Ok(jobs) => {
                self.hosts.push((host.clone(), jobs));
                Ended::ok()
            }
            Err(Failed { end, error }) => {
                Ended::failed(end, error.before(&format!("{} on", self.verb)))
            }
        }
    }
}
