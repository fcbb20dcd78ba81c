//! Starts the agent: loads and prepares everything that it needs, and tells errors of the configuration from
//! those of the system.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lariat_base::private::{PrivateError, check_directory, create_directory};
use lariat_engine::confined::named;
use rustix::fs::Mode;
use tokio::runtime::Builder;
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use crate::audit::Audit;
use crate::budget::{Budget, Holder};
use crate::certificates::Certificates;
use crate::config::Config;
use crate::core::{Activity, Agent, Counters, JobEnds, effective, store};
use crate::host::Disks;
use crate::identity::Identity;
use crate::job_shares::JobShares;
use crate::jobs::{Jobs, Settings};
use crate::keyring::LastUsed;
use crate::lanes::Lanes;
use crate::listeners::Listeners;
use crate::notes::Notes;
use crate::parking::Parking;
use crate::renewal;
use crate::running::Running;
use crate::serve::{Handshaker, Server, Stopped};
use crate::status_page::{self, StatusListener};
use crate::transfers::Transfers;
use crate::transport::{ListenError, LocalListener, Passed, TcpListener};
use crate::user::User;
use crate::{capacity, descriptors, discover, jobs, memory, upgrade};

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or a file that it names, is wrong: a restart would not help.
    #[error("{0}")]
    Config(String),
    /// The system refused something: a restart may help.
    #[error("{0}")]
    System(String),
}

impl StartError {
    fn config(error: impl Display) -> Self {
        Self::Config(error.to_string())
    }

    fn system(error: impl Display) -> Self {
        Self::System(error.to_string())
    }
}

/// Loads the configuration and the files that it names, then serves until a signal ends it, or another version is to be
/// executed in its place. `passed` are the sockets that systemd passed.
pub fn run(
    path: &Path,
    listen: Option<SocketAddr>,
    passed: Vec<Passed>,
) -> Result<Stopped, StartError> {
    memory::limit();
    named::refuse_magic_links();
    let mut config = Config::load(path).map_err(StartError::config)?;
    config.listen = listen.or(config.listen);
    renewal::finish(&config).map_err(StartError::config)?;
    let identity = Identity::load(&config).map_err(StartError::config)?;
    let state = config.state.clone();
    let keyring = effective(store(path, &config, &state).load().map_err(StartError::config)?);
    identity.warn(&config.name);
    prepare_state(&config.state)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| StartError::system(format!("start: {e}")))?;
    // Before the state is opened: an agent that runs already is told by its address.
    let listener = {
        let _inside = runtime.enter();
        listener(config.listen, passed).map_err(StartError::system)?
    };
    let address = listener.as_ref().map(TcpListener::address).transpose();
    let own_port = address.map_err(StartError::system)?.map_or(0, |address| address.port());
    descriptors::raise();
    // Private files are created with an explicit mode; pushed directories get the mode that a login shell
    // would give them.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let boot = jobs::boot_id().map_err(|e| StartError::system(format!("read the boot id: {e}")))?;
    let user =
        User::current().map_err(|e| StartError::system(format!("look up the own user: {e}")))?;
    let settings = Settings::new(&config, boot);
    let jobs = Jobs::open(&config.state, settings)
        .map_err(|e| StartError::system(format!("open {}: {e}", config.state.display())))?;
    let (audit, unfinished) = Audit::open(&config).map_err(|e| {
        StartError::system(format!("open the audit in {}: {e}", config.state.display()))
    })?;
    let budget = Budget::new(config.limits.or(capacity::limits()));
    let job_shares = JobShares::load(&jobs, &budget, |key| Holder::named(key, &keyring))
        .map_err(|e| StartError::system(format!("look for jobs: {e}")))?;
    JobEnds::recover(unfinished, &jobs, &audit);
    let job_ends =
        JobEnds::load(&jobs).map_err(|e| StartError::system(format!("look for jobs: {e}")))?;
    let running = Running::mark(&state)
        .map_err(|e| StartError::system(format!("write in {}: {e}", state.display())))?;
    let agent = Arc::new(Agent {
        last_used: LastUsed::load(&state),
        notes: Notes::load(&state),
        state,
        config_path: path.to_owned(),
        listen,
        config: watch::Sender::new(Arc::new(config)),
        keyring: watch::Sender::new(Arc::new(keyring)),
        certificates: Certificates::new(identity),
        boot,
        user,
        jobs,
        job_ends,
        job_shares,
        transfers: Transfers::default(),
        lanes: Lanes::default(),
        parking: Parking::default(),
        listeners: Listeners::default(),
        own_port,
        budget,
        audit,
        activity: Activity::default(),
        counters: Counters::default(),
        disks: Disks::default(),
        began: Instant::now(),
        replaced: Notify::new(),
    });
    if let Err(why) = upgrade::tell(&agent.state, &agent.audit) {
        warn!("how the last upgrade ended can't be recorded: {why}");
    }
    agent.set_aside();
    agent.audit_keys();
    if let Some(place) = &agent.config().status.listen {
        let listener = StatusListener::bind(place);
        // The host stays within reach without it.
        if let Err(error) = listener.and_then(|listener| status_page::start(listener, &agent)) {
            error!("the status page can't be served on {place}: {error}");
        }
    }
    if let Some(port) = Some(own_port).filter(|port| *port != 0 && agent.config().discover) {
        // The host stays within reach without it.
        if let Err(error) = discover::start(Arc::clone(&agent), port) {
            error!("probes can't be answered: {error}");
        }
    }
    let audited = Arc::clone(&agent);
    let handshaker = Handshaker::new(Arc::clone(&agent)).map_err(StartError::system)?;
    let stopped = runtime.block_on(async {
        let config = agent.config();
        let local = (!config.local.is_empty()).then(|| LocalListener::bind(&config.state));
        let local = local.transpose().map_err(|e| {
            StartError::system(format!("listen in {}: {e}", config.state.display()))
        })?;
        Server::new(handshaker, agent).serve(listener, local).await.map_err(StartError::system)
    })?;
    drop(running);
    audited.audit.sync().map_err(|e| StartError::system(format!("sync the audit: {e}")))?;
    Ok(stopped)
}

/// Listens, if the agent is to listen anywhere. What systemd passes is an address too.
fn listener(
    listen: Option<SocketAddr>,
    passed: Vec<Passed>,
) -> Result<Option<TcpListener>, ListenError> {
    match listen {
        Some(address) => TcpListener::open(address, passed).map(Some),
        None => Ok(None),
    }
}

/// Creates or checks the state directory: mode 0700, owned by the agent's user.
fn prepare_state(path: &Path) -> Result<(), StartError> {
    let made = match create_directory(path) {
        Err(error) if error.io_kind() == Some(io::ErrorKind::AlreadyExists) => {
            check_directory(path)
        }
        made => made,
    };
    made.map_err(|error| match error {
        PrivateError::Io { .. } => StartError::system(error),
        _ => StartError::config(error),
    })
}
