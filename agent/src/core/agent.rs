//! The agent as its sessions see it. A reload replaces configuration and keyring while sessions run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lariat_base::name::BootId;
use lariat_wire::protocol::audit::AuditHead;
use tokio::sync::watch;

use crate::budget::Budget;
use crate::config::Config;
use crate::job_shares::JobShares;
use crate::jobs::Jobs;
use crate::keyring::Keyring;
use crate::lanes::Lanes;
use crate::transfers::Transfers;
use crate::user::User;

/// What the sessions of an agent share.
pub struct Agent {
    /// Where the configuration was read from.
    pub config_path: PathBuf,
    /// The current configuration. What was set up at the start, such as listeners, limits and job settings,
    /// does not follow it.
    pub config: watch::Sender<Arc<Config>>,
    /// The current keyring.
    pub keyring: watch::Sender<Arc<Keyring>>,
    /// The host's boot.
    pub boot: BootId,
    /// The user whose files are written and whose commands are run by default.
    pub user: User,
    /// The jobs, including those of earlier runs of the agent.
    pub jobs: Jobs,
    /// The jobs' shares of the budget.
    pub job_shares: JobShares,
    /// The transfers that write to this host.
    pub transfers: Transfers,
    /// The transfers that have further connections.
    pub lanes: Lanes,
    /// What each key may use.
    pub budget: Budget,
}

/// The result of a reload.
pub enum Reloaded {
    /// Configuration and keyring were replaced. The settings named here have changed, and count from the next
    /// start on.
    Done(Vec<&'static str>),
    /// Nothing was replaced, for this reason.
    Unchanged(String),
}

impl Agent {
    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// The current keyring.
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.borrow())
    }

    /// The newest audit line on disk. The agent keeps no audit yet.
    pub fn audit_head(&self) -> AuditHead {
        AuditHead::default()
    }

    /// Reloads configuration and keyring. If either has a mistake, both stay as they are.
    pub fn reload(&self) -> Reloaded {
        match read(&self.config_path) {
            Ok((config, keyring)) => {
                let old = self.config.send_replace(Arc::new(config));
                self.keyring.send_replace(Arc::new(keyring));
                Reloaded::Done(old.changed_at_start(&self.config()))
            }
            Err(why) => Reloaded::Unchanged(why),
        }
    }
}

fn read(path: &Path) -> Result<(Config, Keyring), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let keyring = Keyring::load(&config.keyring).map_err(|error| error.to_string())?;
    Ok((config, keyring))
}
