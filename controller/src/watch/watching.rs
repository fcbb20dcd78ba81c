//! The looks at all hosts of a target.

use std::sync::Arc;
use std::time::Duration;

use lariat_base::name::HostName;
use lariat_client::run::Signals;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;

use super::poll::{Polling, Told};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Begin, Work, WorkerPool};
use crate::fleet::Fleet;
use crate::target::{Chosen, natural};

/// What hosts have said and nobody has taken in yet, at most.
const UNREAD: usize = 4096;

/// The hosts that are watched, and how.
pub(crate) struct Hosts<'a> {
    pub(crate) context: &'a Context,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) chosen: Vec<Chosen>,
    /// The target can match several hosts.
    pub(crate) are_several: bool,
    /// How often each is looked at, and how many times.
    pub(crate) every: Duration,
    pub(crate) looks: Option<u32>,
    pub(crate) connect_timeout: Duration,
    /// So many are connected to at a time.
    pub(crate) parallel: usize,
}

/// The looks at all hosts. Dropping it ends them.
pub(super) struct Watching {
    pub(super) told: Receiver<Told>,
    pub(super) pool: WorkerPool<()>,
    pub(super) signals: Signals,
}

impl Hosts<'_> {
    /// Puts hosts into the order of their names.
    pub(crate) fn sort(chosen: &mut [Chosen]) {
        chosen.sort_by(|a, b| natural(a.host.as_str(), b.host.as_str()));
    }

    /// Their names, each at its host's number.
    pub(super) fn names(&self) -> impl Iterator<Item = HostName> {
        self.chosen.iter().map(|chosen| chosen.host.clone())
    }

    /// Begins to look at all hosts, in worker threads.
    pub(super) fn watch(self) -> Result<Watching, CliError> {
        let failed = |what: &'static str| move |error| CliError::from(error).during(what);
        let signals = Signals::new().map_err(failed("wait for signals"))?;
        let (tell, told) = channel(UNREAD);
        let Self { fleet, chosen, every, looks, connect_timeout, parallel, .. } = self;
        let count = chosen.len();
        let connecting = Semaphore::new(parallel);
        let polling =
            Polling { began: Instant::now(), every, looks, connect_timeout, connecting, tell };
        let shared = Arc::new((polling, fleet, chosen));
        let begin: Arc<Begin<()>> = Arc::new(move |number| -> Work<()> {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let (polling, fleet, chosen) = &*shared;
                polling.watch(number, fleet.host(&chosen[number])).await;
            })
        });
        let mut pool = WorkerPool::start(count, &begin).map_err(failed("start threads"))?;
        (0..count).for_each(|number| pool.begin(number));
        Ok(Watching { told, pool, signals })
    }
}
