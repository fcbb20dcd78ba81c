//! Dials gateways: a host that nobody can connect to keeps a few connections parked at each, on which controllers come.
//!
//! It has a thread of its own, so that the one that accepts connections does no client's TLS.

mod backoff;
mod gateway;
mod wanted;

use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};

use crate::config::Config;
use crate::core::Agent;
use crate::transport::{Arrival, Detached};
use wanted::{Arrived, Wanted};

/// The connections that are kept at each gateway: while one is being used, another is there.
const KEPT: usize = 2;

/// The connections of gateways that this agent dials.
#[derive(Default)]
pub struct Dialling {
    /// From the thread that dials; `None` while nothing was ever to be dialled.
    arrived: Option<mpsc::Receiver<Arrived>>,
}

impl Dialling {
    /// Dials as the agent's configuration says, now and after each reload.
    pub fn configured(&mut self, agent: &Agent) -> io::Result<()> {
        if self.arrived.is_none() && agent.config().dial.is_some() {
            self.arrived = Some(start(agent.config.subscribe())?);
        }
        Ok(())
    }

    /// The next connection on which a controller comes, for the current runtime. Cancel-safe.
    pub async fn arrival(&mut self) -> Arrival {
        loop {
            let Some(arrived) = &mut self.arrived else { return pending().await };
            // Its thread ends with the process.
            let Some(Arrived { stream, origin }) = arrived.recv().await else {
                self.arrived = None;
                continue;
            };
            // A connection that can't be used any more is dialled anew by its other end.
            if let Ok(stream) = Detached::Tcp(stream).attach() {
                return Arrival { stream, origin };
            }
        }
    }
}

/// What is wrong with the files of `[dial]`, if anything is.
pub fn unfit(config: &Config) -> Option<String> {
    Wanted::of(config).and_then(|wanted| gateway::unfit(&wanted.host, &wanted.files))
}

/// Starts the thread that dials.
fn start(config: watch::Receiver<Arc<Config>>) -> io::Result<mpsc::Receiver<Arrived>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (sender, arrived) = mpsc::channel(KEPT);
    let work = move || LocalSet::new().block_on(&runtime, follow(config, sender));
    std::thread::Builder::new().name("dialling".into()).spawn(work)?;
    Ok(arrived)
}

/// Dials what the configuration says, whenever it changes.
async fn follow(mut config: watch::Receiver<Arc<Config>>, arrived: mpsc::Sender<Arrived>) {
    let mut present = None;
    let mut kept: Vec<AbortHandle> = Vec::new();
    loop {
        let wanted = Wanted::of(&config.borrow_and_update());
        if wanted != present {
            kept.drain(..).for_each(|task| task.abort());
            if let Some(Wanted { host, gateways, files }) = &wanted {
                let all = gateways.iter().flat_map(|gateway| (0..KEPT).map(move |n| (gateway, n)));
                kept.extend(all.map(|(gateway, number)| {
                    let (host, files, gateway) = (host.clone(), files.clone(), gateway.clone());
                    let keep = gateway::keep(host, files, gateway, number, arrived.clone());
                    tokio::task::spawn_local(keep).abort_handle()
                }));
            }
            present = wanted;
        }
        if config.changed().await.is_err() {
            return;
        }
    }
}
