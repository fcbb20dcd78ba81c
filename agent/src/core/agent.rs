//! The agent as its sessions see it. A reload replaces configuration and keyring while sessions run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use lariat_base::clock::signed_seconds;
use lariat_base::escape::escape;
use lariat_base::name::BootId;
use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::key::{KeyChanged, Revision};
use lariat_wire::protocol::request::KeyRequest;
use lariat_wire::protocol::verb::Verb;
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::activity::Activity;
use super::counters::Counters;
use super::job_ends::JobEnds;
use crate::audit::Audit;
use crate::budget::Budget;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::host::Disks;
use crate::identity::Identity;
use crate::job_shares::JobShares;
use crate::jobs::Jobs;
use crate::keyring::{Asker, AuditedKeys, Counts, Keyring, LastUsed, Loaded, Store};
use crate::lanes::Lanes;
use crate::listeners::Listeners;
use crate::notes::Notes;
use crate::parking::Parking;
use crate::policy::{Clock, Denial, Rule};
use crate::transfers::Transfers;
use crate::user::User;

/// What the sessions of an agent share.
pub struct Agent {
    /// Where the configuration was read from.
    pub config_path: PathBuf,
    /// Where to listen, if the command line says so.
    pub listen: Option<SocketAddr>,
    /// The current configuration. What was set up at the start, such as listeners and limits, does not follow it.
    pub config: watch::Sender<Arc<Config>>,
    /// The current keyring.
    pub keyring: watch::Sender<Arc<Keyring>>,
    /// The host's certificates.
    pub certificates: Certificates,
    /// The directory for jobs, sockets and what is remembered of keys.
    pub state: PathBuf,
    /// When each key last logged in.
    pub last_used: LastUsed,
    /// The host's boot.
    pub boot: BootId,
    /// The user whose files are written and whose commands are run by default.
    pub user: User,
    /// The jobs, including those of earlier runs of the agent.
    pub jobs: Jobs,
    /// The jobs that no session follows and whose end the audit does not have yet.
    pub job_ends: JobEnds,
    /// The jobs' shares of the budget.
    pub job_shares: JobShares,
    /// The transfers that write to this host.
    pub transfers: Transfers,
    /// The transfers that have further connections.
    pub lanes: Lanes,
    /// The connections that other hosts have parked here.
    pub parking: Parking,
    /// Where sessions listen for their controllers.
    pub listeners: Listeners,
    /// The port at which the agent listens.
    pub own_port: u16,
    /// What each key may use.
    pub budget: Budget,
    /// The record of what is done.
    pub audit: Audit,
    /// Notes that operators left on this host.
    pub notes: Notes,
    /// Who is there, and what they do.
    pub activity: Activity,
    /// What the events add up to.
    pub counters: Counters,
    /// The host's disks.
    pub disks: Disks,
    /// When the agent began.
    pub began: Instant,
    /// The agent is to stop, and another version is to be executed in its place.
    pub replaced: Notify,
}

/// The result of a reload.
pub enum Reloaded {
    /// Configuration, keyring and certificate were replaced. The settings named here have changed, and count from the next
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

    /// What the host's clock shows.
    pub fn clock(&self) -> Clock {
        Clock::new(SystemTime::now(), self.certificates.present().valid_from())
    }

    /// Reloads configuration, keyring and certificate. If one has a mistake, all stay as they are.
    pub fn reload(&self) -> Reloaded {
        let read = || {
            let mut config = Config::load(&self.config_path).map_err(|error| error.to_string())?;
            config.listen = self.listen.or(config.listen);
            let store = store(&self.config_path, &config, &self.state);
            // A change that is under way is waited for: it must not be undone by what was read before it.
            let lock = store.lock().map_err(|failure| failure.to_string())?;
            let loaded = store.load().map_err(|error| error.to_string())?;
            let identity = Identity::load(&config).map_err(|error| error.to_string())?;
            let is_new = identity.certified.cert != self.certificates.kept().certified.cert;
            let now = signed_seconds(SystemTime::now());
            // With it nobody could connect any more.
            if let Some(why) = identity.unfit(&config.name, now).first().filter(|_| is_new) {
                return Err(format!("{}: {why}", identity.path.display()));
            }
            Ok((config, effective(loaded), is_new.then_some(identity), lock))
        };
        match read() {
            Ok((config, keyring, identity, _lock)) => {
                if let Some(identity) = identity {
                    identity.warn(&config.name);
                    self.certificates.keep(Arc::new(identity));
                }
                self.audit.configure(&config.audit);
                self.jobs.configure(&config);
                let old = self.config.send_replace(Arc::new(config));
                self.audit_changes(&keyring);
                self.keyring.send_replace(Arc::new(keyring));
                Reloaded::Done(old.changed_at_start(&self.config()))
            }
            Err(why) => Reloaded::Unchanged(why),
        }
    }

    /// Sets room aside for what must go on when the state's disk is full: revocations, and commands of owners.
    pub fn set_aside(&self) {
        store(&self.config_path, &self.config(), &self.state).set_aside();
        self.jobs.set_aside();
    }

    /// The keyring as it is in its file, with its revision.
    pub fn read_keys(&self) -> Result<(Revision, Keyring), Failure> {
        store(&self.config_path, &self.config(), &self.state).read()
    }

    /// Does what a request about the keyring asks for. It counts at once, and so does what somebody has written into the
    /// file since it was read, as after a reload.
    pub fn change_keys(&self, request: &KeyRequest, asker: Asker) -> Result<KeyChanged, Failure> {
        let has_logged_in = |id| self.last_used.get(id).is_some();
        let (config, clock) = (self.config(), self.clock());
        let counts = |counts| match counts {
            Counts::Found(keyring) => {
                let may_go_on = asker.may(request, &keyring, clock);
                if self.audit_changes(&keyring) {
                    self.keyring.send_replace(Arc::new(keyring));
                }
                if may_go_on { Ok(()) } else { Err(changed_by_hand().into()) }
            }
            Counts::Changed(keyring) => {
                self.keys_are_audited(&AuditedKeys::of(&keyring));
                self.keyring.send_replace(Arc::new(keyring));
                Ok(())
            }
        };
        let store = store(&self.config_path, &config, &self.state);
        store.change(request, asker, clock, &has_logged_in, counts)
    }

    /// Writes into the audit how the keys of this keyring, which no request has changed, differ from the present ones.
    /// Returns whether any does.
    fn audit_changes(&self, keyring: &Keyring) -> bool {
        let (old, new) = (AuditedKeys::of(&self.keyring()), AuditedKeys::of(keyring));
        let differs = old != new;
        if differs {
            self.audit.keys_changed(&old, &new);
            self.keys_are_audited(&new);
        }
        differs
    }
}

impl Agent {
    /// Writes into the audit what has changed in the keyring while no agent was there.
    pub fn audit_keys(&self) {
        let (old, new) = (AuditedKeys::load(&self.state), AuditedKeys::of(&self.keyring()));
        if old.as_ref().is_some_and(|old| old.changes(&new).next().is_none()) {
            return;
        }
        // The first start has nothing to compare with.
        old.iter().for_each(|old| self.audit.keys_changed(old, &new));
        self.keys_are_audited(&new);
    }

    fn keys_are_audited(&self, keys: &AuditedKeys) {
        if let Err(error) = keys.save(&self.state) {
            warn!("which keys the audit knows can't be remembered: {error}");
        }
    }
}

/// The denial of a change by a key that may change keys no more.
fn changed_by_hand() -> Denial {
    let why = "it was changed by hand, and this key may change no keys any more".to_owned();
    Denial { verb: Verb::Keys, rule: Rule::Keyring, why }
}

/// Where a configuration's keyring is.
pub fn store<'a>(config_path: &Path, config: &'a Config, state: &'a Path) -> Store<'a> {
    let own = own_files(config_path, config);
    Store { path: &config.keyring, state, enrolment: config.enrolment, own }
}

/// The agent's files and directories, and its program: whoever changes these has the host. What a link leads to has
/// both names.
pub fn own_files(config_path: &Path, config: &Config) -> Vec<PathBuf> {
    let names = |path: &Path| [std::path::absolute(path).ok(), path.canonicalize().ok()];
    let Config { certificate, key, ca, keyring, state, dial, .. } = config;
    let files = [config_path, keyring, state, certificate, key, ca];
    let dial = dial.iter().map(|dial| dial.key.as_path());
    let program = std::env::current_exe().ok();
    files.into_iter().chain(dial).flat_map(names).flatten().chain(program).collect()
}

/// The keys that may log in. Entries that are of no effect are logged.
pub fn effective(Loaded { keyring, ignored }: Loaded) -> Keyring {
    for label in ignored {
        let label = escape(label.as_bytes());
        error!("the keyring's entry {label} is of no effect: its key was revoked here");
    }
    keyring
}
