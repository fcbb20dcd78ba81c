//! The agent as its sessions see it. Configuration and keyring can be replaced while sessions run.

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
use crate::transfers::Transfers;
use crate::user::User;

/// Everything that the sessions of an agent have in common.
pub struct Agent {
    /// Where the configuration was read from.
    pub config_path: PathBuf,
    /// The present configuration. What is bound or opened at the start stays as it was then.
    pub config: watch::Sender<Arc<Config>>,
    /// The present keyring.
    pub keyring: watch::Sender<Arc<Keyring>>,
    /// The host's boot.
    pub boot: BootId,
    /// The user whose files are written and whose commands are run.
    pub user: User,
    /// The jobs, those of earlier runs of the agent included.
    pub jobs: Jobs,
    /// What they take of the budget.
    pub job_shares: JobShares,
    /// The transfers that are under way.
    pub transfers: Transfers,
    /// What each key may take.
    pub budget: Budget,
    /// Bytes of output that the detached jobs of an owner keep; other keys' keep half.
    pub output: u64,
}

/// What a reload found.
pub enum Reloaded {
    /// Configuration and keyring were replaced.
    Done,
    /// Nothing was: this is wrong with the files.
    Unchanged(String),
}

impl Agent {
    /// The configuration of this moment.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// The keyring of this moment.
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.borrow())
    }

    /// The newest line of the audit that is on disk. No audit is kept yet.
    pub fn audit_head(&self) -> AuditHead {
        AuditHead::default()
    }

    /// Reads configuration and keyring anew. A mistake in either leaves both as they were.
    pub fn reload(&self) -> Reloaded {
        match read(&self.config_path) {
            Ok((config, keyring)) => {
                self.config.send_replace(Arc::new(config));
                self.keyring.send_replace(Arc::new(keyring));
                Reloaded::Done
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
