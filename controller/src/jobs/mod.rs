//! Lists jobs on hosts, chooses one, and formats them.

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
pub(crate) use find::{Found, Searched, find, put_without, without};
pub(crate) use show::{command, has_failed, lasted, object, short, state};

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, FanoutOptions, Verb, within};
use crate::fleet::{self, ReachOptions};
use crate::target::{self, Chosen, Targets};

/// Most messages of a list. A host with more jobs than fit in them is faulty.
const MOST: usize = 100;

// The hosts that are asked for jobs. Flatten it last: later options would be under its heading.
#[derive(clap::Args)]
pub(crate) struct Whom {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", index = 1, long_help = target::HELP)]
    pub(crate) target: Targets,

    /// Time limit per host to list its jobs
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    pub(crate) timeout: Option<Duration>,

    /// Jobs of all keys, for a key with the verb keys
    #[arg(long)]
    pub(crate) all_keys: bool,

    #[command(flatten)]
    connect: ReachOptions,

    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
}

impl Whom {
    /// A verb that only queries the named hosts.
    pub(crate) fn verb<'a>(&'a self, context: &'a Context, json: bool) -> Verb<'a> {
        let Self { target, connect, fanout, .. } = self;
        Verb { context, connect, fanout, targets: vec![target], json, recorded: None }
    }

    /// Refuses a target with a user.
    pub(crate) fn check(&self, hosts: &[Chosen]) -> Result<(), CliError> {
        let Some(chosen) = hosts.iter().find(|chosen| chosen.user.is_some()) else {
            return Ok(());
        };
        let message = format!("{}: jobs are their key's, whatever user they run as", self.target);
        Err(CliError::new(message).hint(&chosen.host))
    }
}

/// Lists a host's jobs, within `limit`. The connection can be used for another request.
pub(crate) async fn list(
    handle: &HostHandle,
    wish: &Wish,
    limit: Option<Duration>,
) -> Result<(Session, Vec<Job>), Failed> {
    let prefix = wish.prefix.as_ref().map(|Prefix(prefix)| prefix.clone()).unwrap_or_default();
    let list = List { prefix, all_keys: wish.all_keys };
    let asked = async { Ok(handle.ask(&list, receive).await?) };
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
