//! The jobs on hosts: who is asked for them, which one a person means, and what is to be said of it.

mod choose;
mod find;
mod show;

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::{Broken, HostHandle, Session};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::job::{Job, List, Listed};

pub(crate) use choose::{Prefix, Unnamed, Wish};
pub(crate) use find::{Found, find};
pub(crate) use show::{command, failed_as, lasted, object, put_failed, short, span, state};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, FanoutOptions, Verb, within};
use crate::fleet::{self, Fleet, ReachOptions};
use crate::target::{Chosen, Targets};

/// Most messages of a list: a host that has more jobs than they hold is not right in the head.
const MOST: usize = 100;

/// The hosts that are asked for jobs, and how. Flattened last, because later options would be under its heading.
#[derive(clap::Args)]
pub(crate) struct Whom {
    /// Which hosts
    #[arg(value_name = "TARGET", index = 1)]
    pub(crate) target: Targets,

    /// How long a host may take to tell its jobs, connecting included
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    pub(crate) timeout: Option<Duration>,

    #[command(flatten)]
    connect: ReachOptions,

    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
}

/// Several hosts that are asked.
pub(crate) struct Several {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) hosts: Vec<Chosen>,
}

impl Whom {
    /// The one host that is named, if it is one.
    pub(crate) fn plain(&self) -> Result<Option<HostName>, CliError> {
        self.target.plain().map(|chosen| self.without_user(chosen)).transpose()
    }

    /// How to reach that host; nothing if it is not left to be tried again.
    pub(crate) fn handle(
        &self,
        host: &HostName,
        context: &Context,
    ) -> Result<Option<HostHandle>, CliError> {
        let chosen = Chosen { host: host.clone(), user: None };
        self.fanout.one(&self.connect, [&self.target], &chosen, context)
    }

    /// A verb that only looks at the hosts that are named.
    pub(crate) fn verb<'a>(&'a self, context: &'a Context, json: bool) -> Verb<'a> {
        let Self { target, connect, fanout, .. } = self;
        Verb { context, connect, fanout, target, json, recorded: None }
    }

    /// The several hosts that are named.
    pub(crate) fn several(&self, context: &Context) -> Result<Several, CliError> {
        let fleet = Fleet::load(context, &self.connect)?;
        let hosts = self.fanout.hosts(&self.target, &fleet, context)?;
        for chosen in &hosts {
            self.without_user(chosen.clone())?;
        }
        Ok(Several { fleet: Arc::new(fleet), hosts })
    }

    /// The host, which is named without a user.
    pub(crate) fn without_user(&self, Chosen { host, user }: Chosen) -> Result<HostName, CliError> {
        if user.is_none() {
            return Ok(host);
        }
        let message = format!("{}: jobs are their key's, whatever user they run as", self.target);
        Err(CliError::new(message).hint(host))
    }
}

impl Several {
    /// Their names, in order.
    pub(crate) fn names(&self) -> Vec<HostName> {
        self.hosts.iter().map(|chosen| chosen.host.clone()).collect()
    }
}

/// Asks a host for its jobs, which may take it so long. The connection is good for another request.
pub(crate) async fn list(
    handle: &HostHandle,
    prefix: Option<&Prefix>,
    limit: Option<Duration>,
) -> Result<(Session, Vec<Job>), Failed> {
    let prefix = prefix.map(|Prefix(prefix)| prefix.clone()).unwrap_or_default();
    let asked = async { Ok(handle.ask(&List { prefix, all_keys: false }, receive).await?) };
    within(limit, handle, asked).await
}

async fn receive(Session { link, .. }: &mut Session) -> Result<Vec<Job>, Broken> {
    let mut all = Vec::new();
    for _ in 0..MOST {
        let frame = link.next().await?.ok_or(LinkError::Cut)?;
        match frame.kind {
            Kind::Listed => {
                let Listed { jobs, more } = link.reader.message()?;
                all.extend(jobs);
                if !more {
                    return Ok(all);
                }
            }
            Kind::Failed => return Err(Broken::Failed(link.reader.message::<Failure>()?)),
            other => return Err(LinkError::Unexpected(other).into()),
        }
    }
    Err(LinkError::Misbehaved("its list of jobs has no end").into())
}
