//! The jobs on hosts: who is asked for them, which one a person means, and what is to be said of it.

mod choose;
mod find;
mod show;

use std::time::Duration;

use lariat_client::{Broken, HostHandle, Session};
use lariat_wire::link::LinkError;
use lariat_wire::protocol::Kind;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::job::{Job, List, Listed};

pub(crate) use choose::{Prefix, Unnamed, Wish};
pub(crate) use find::{Found, find};
pub(crate) use show::{command, lasted, object, short, span, state};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, FanoutOptions, Verb, within};
use crate::fleet::{self, ReachOptions};
use crate::target::{Chosen, Targets};

/// Most messages of a list: a host that has more jobs than they hold is not right in the head.
const MOST: usize = 100;

// The hosts that are asked for jobs. Flatten it last: later options would be under its heading.
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

impl Whom {
    /// A verb that only looks at the hosts that are named.
    pub(crate) fn verb<'a>(&'a self, context: &'a Context, json: bool) -> Verb<'a> {
        let Self { target, connect, fanout, .. } = self;
        Verb { context, connect, fanout, targets: vec![target], json, recorded: None }
    }

    /// Refuses hosts that are named with a user.
    pub(crate) fn check(&self, hosts: &[Chosen]) -> Result<(), CliError> {
        let Some(chosen) = hosts.iter().find(|chosen| chosen.user.is_some()) else {
            return Ok(());
        };
        let message = format!("{}: jobs are their key's, whatever user they run as", self.target);
        Err(CliError::new(message).hint(&chosen.host))
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
