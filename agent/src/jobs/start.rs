//! Starts jobs, and removes them.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use lariat_base::clock::milliseconds;
use lariat_base::lock::lock;
use lariat_base::name::{BootId, KeyId};
use lariat_base::spare;
use lariat_wire::protocol::exec::{self, Run, Streams};
use lariat_wire::protocol::failure::{Action, Cause, Failure};
use rustix::io::Errno;

use super::channel::{self, ChannelError, ToSupervisor, VERSION};
use super::connection::{self, Commands, Events};
use super::directory::{Directories, Keep};
use super::name::JobName;
use super::record::{LOGIN_SHELL, Record};
use super::released::Released;
use super::settings::Settings;
use super::spawner::Spawner;
use super::unattended::Unattended;
use crate::config::Config;
use crate::core::ActAs;

/// How long a job's directory, and so its id, is kept after its end or its supervisor's death.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The number of job starts after which the limits on kept output are checked.
const SWEEP_AFTER: u32 = 256;

/// The file with the room for jobs of owners, in the state directory.
const SPARE: &str = "jobs.spare";

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key has, or had, a job with this id: attach to it.
    #[error("this job id is taken")]
    Exists,
    /// A system call failed.
    #[error("start a supervisor: {0}")]
    Io(#[from] io::Error),
    /// Communication with the supervisor failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let cause = match error {
            StartError::Exists => Cause::BadRequest(error.to_string()),
            StartError::Io(error) | StartError::Channel(ChannelError::Io(error)) => {
                error.raw_os_error().map_or(Cause::Internal, Cause::Os)
            }
            StartError::Channel(_) => Cause::Internal,
        };
        Self { action: Action::Start, path: None, cause }
    }
}

/// All jobs of this agent.
pub struct Jobs {
    /// Has room for jobs of owners when the disk is full.
    spare: PathBuf,
    pub(super) directories: Directories,
    released: Released,
    settings: Mutex<Arc<Settings>>,
    spawner: Arc<Spawner>,
    /// Jobs that were started since the last sweep.
    started: AtomicU32,
}

impl Jobs {
    /// Opens the jobs in an agent's state directory.
    pub fn open(state: &Path, settings: Settings) -> io::Result<Self> {
        let spawner = Arc::new(Spawner::new(settings.supervisor.clone()));
        // In the background: the agent's own start does not wait for systemd.
        let other = Arc::clone(&spawner);
        thread::Builder::new().name("spawner".to_owned()).spawn(move || other.make_ready())?;
        let (directories, released) =
            (Directories::open(state, settings.boot)?, Released::open(state)?);
        let settings = Mutex::new(Arc::new(settings));
        let (spare, started) = (state.join(SPARE), AtomicU32::new(0));
        Ok(Self { spare, directories, released, settings, spawner, started })
    }

    /// Settings of jobs that start now.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    /// Jobs that start from now on follow this configuration.
    pub fn configure(&self, config: &Config) {
        let old = self.settings();
        let new = Settings { host: old.host.clone(), ..Settings::new(config, old.boot) };
        *lock(&self.settings) = Arc::new(new);
    }

    /// Starts a job: creates its record, then starts its supervisor. Requires a tokio runtime.
    ///
    /// `program` is the path of an argv's program, if it has been looked up already; `unattended` is what is kept of a job
    /// that no session will follow; `is_owners` says that on a full disk the job gets the room that is set aside. The first
    /// event is that its command runs, or why not.
    pub fn start(
        &self,
        key: KeyId,
        run: Run,
        act_as: &ActAs,
        program: Option<Vec<u8>>,
        unattended: Option<&Unattended>,
        is_owners: bool,
    ) -> Result<(Events, Commands), StartError> {
        let (job, record) = (JobName { key, id: run.job }, self.record(key, &run));
        let begin = ToSupervisor::Begin(Box::new(self.settings().begin(run, act_as, program)));
        let frame = channel::message(&begin).map_err(ChannelError::Codec)?;
        let create = || self.directories.create(job, &record);
        let made = self.with_room(is_owners, create).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                StartError::Exists
            } else {
                StartError::Io(error)
            }
        })?;
        // Checked only now: a job's id is added to the released ones before its directory is removed.
        let supervisor = if self.released.contains(job) {
            Err(StartError::Exists)
        } else {
            let keep = || unattended.map_or(Ok(()), |unattended| self.keep(job, unattended));
            let kept = self.with_room(is_owners, keep);
            let files = [made.directory.as_fd(), made.record.as_fd()];
            kept.and_then(|()| self.spawner.start(&frame, files)).map_err(StartError::Io)
        };
        if supervisor.is_err() {
            // No supervisor received the command, so the id may be used again.
            let _ = self.directories.remove(job);
        }
        self.started.fetch_add(1, Ordering::Relaxed);
        // From here on the command may run, whatever happens to the agent.
        Ok(connection::halves(supervisor?)?)
    }

    /// Does what makes files of a job. If there is no room, those of an owner's take what was set aside.
    fn with_room<T>(&self, is_owners: bool, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error)
                if is_owners && spare::is_full(error.kind()) && spare::give_up(&self.spare) =>
            {
                let done = work();
                self.set_aside();
                done
            }
            done => done,
        }
    }

    /// Sets room aside for jobs of owners. Where there is none, it does as much as it can.
    pub fn set_aside(&self) {
        spare::set_aside(&self.spare);
    }

    /// Removes a job whose result was delivered completely. Its id can't be used again.
    pub fn release(&self, job: JobName) -> io::Result<()> {
        let kept = self.released.add(job);
        kept.and(self.forget(job))
    }

    /// Removes a job whose command was not started.
    pub fn forget(&self, job: JobName) -> io::Result<()> {
        self.spawner.make_ready();
        self.directories.remove(job)
    }

    /// Whether enough jobs were started since the last sweep for another one.
    pub fn is_sweep_due(&self) -> bool {
        let due = self.started.load(Ordering::Relaxed) >= SWEEP_AFTER;
        if due {
            self.started.store(0, Ordering::Relaxed);
        }
        due
    }

    /// Removes jobs that ended more than [`KEPT`] ago, detached jobs after their own time, and jobs beyond the
    /// limits on kept output.
    pub fn sweep(&self, now: SystemTime, is_owner: impl Fn(KeyId) -> bool) {
        // A clock before 2 January 1970 is not set yet.
        let Some(followed_since) = now.checked_sub(KEPT) else { return };
        let detached_since =
            now.checked_sub(self.settings().keep).unwrap_or(SystemTime::UNIX_EPOCH);
        // A detached job's id can't be used again after its directory is removed.
        let old = self
            .directories
            .sweep(Keep { followed_since, detached_since }, |job| self.released.add(job));
        for (removed, which) in
            [(old, "that ended long ago"), (self.trim(is_owner), "to free space")]
        {
            match removed {
                Ok(0) => {}
                Ok(count) => tracing::info!("removed {count} jobs {which}"),
                Err(error) => tracing::warn!("can't remove jobs {which}: {error}"),
            }
        }
    }

    fn record(&self, key: KeyId, run: &Run) -> Record {
        let summary = match &run.command {
            exec::Command::Shell(line) => Record::summary(line),
            exec::Command::Argv(words) => Record::summary(&words.join(&b' ')),
            exec::Command::Script { body, .. } => Record::summary(body),
            exec::Command::Login => LOGIN_SHELL.to_vec(),
        };
        Record {
            version: VERSION,
            key,
            boot: self.settings().boot,
            began_ms: milliseconds(SystemTime::now()),
            detached: run.streams == Streams::Detached,
            user: run.user.clone(),
            summary,
        }
    }
}

/// The id of the host's current boot, which changes with every start of its kernel.
pub fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().replace('-', "").parse().map_err(|_| Errno::INVAL.into())
}
