//! Starting jobs and coming back to them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_common::name::{BootId, JobId, KeyId};
use lariat_common::protocol::exec::{self, BadRun, Run};
use lariat_common::protocol::failure::{Action, Cause, Failure};
use rustix::io::Errno;

use super::channel::{self, Begin, ChannelError, ToSupervisor, VERSION};
use super::connection::{self, Ear, Mouth};
use super::folder::Folders;
use super::record::{Record, State};
use super::spawner::Spawner;
use crate::user::User;

/// The agent's own binary: the one that runs, also when another has taken its place on disk.
const OWN_BINARY: &str = "/proc/self/exe";

/// The locale of a command whose host has none set.
const LANG: &str = "C.UTF-8";

/// How often a supervisor is looked for that does not listen yet, and how long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOK_FOR: Duration = Duration::from_secs(5);

/// How long a job's folder is kept after its end, or its supervisor's death.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// What all jobs have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program that is run as `PROGRAM supervise`.
    pub supervisor: PathBuf,
    /// The commands' PATH.
    pub path: Vec<u8>,
    /// The commands' LANG.
    pub lang: Vec<u8>,
    /// Whom they run as.
    pub user: User,
    /// The longest grace time that a controller may ask for.
    pub max_grace: Duration,
    /// The host's boot.
    pub boot: BootId,
}

impl Settings {
    /// Settings for jobs of `user`.
    pub fn new(path: &str, user: User, max_grace: Duration, boot: BootId) -> Self {
        let lang = std::env::var_os("LANG").filter(|lang| !lang.is_empty());
        Self {
            supervisor: PathBuf::from(OWN_BINARY),
            path: path.as_bytes().to_vec(),
            lang: lang.map_or_else(|| LANG.as_bytes().to_vec(), OsStringExt::into_vec),
            user,
            max_grace,
            boot,
        }
    }

    fn environment(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let User { uid: _, name, home, shell } = &self.user;
        [
            ("PATH", &self.path),
            ("HOME", home),
            ("USER", name),
            ("LOGNAME", name),
            ("SHELL", shell),
            ("LANG", &self.lang),
        ]
        .map(|(name, value)| (name.as_bytes().to_vec(), value.clone()))
        .to_vec()
    }
}

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The request makes no sense.
    #[error(transparent)]
    Bad(#[from] BadRun),
    /// The job is there already: attach to it.
    #[error("the job is there already")]
    Exists,
    /// The system failed us.
    #[error("start a supervisor: {0}")]
    Io(#[from] io::Error),
    /// The supervisor could not be talked to.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let cause = match error {
            StartError::Bad(bad) => Cause::BadRequest(bad.to_string()),
            StartError::Exists => Cause::BadRequest("this job id is taken".to_owned()),
            StartError::Io(error) | StartError::Channel(ChannelError::Io(error)) => {
                error.raw_os_error().map_or(Cause::Internal, Cause::Os)
            }
            StartError::Channel(_) => Cause::Internal,
        };
        Self { action: Action::Start, path: None, cause }
    }
}

/// A job that was found.
pub enum Attached {
    /// It is there, and tells everything from the beginning of what it still has.
    Alive(Ear, Mouth),
    /// It ended, and nobody came for it in time.
    Over(exec::Exit),
    /// It died with its supervisor, or with the host.
    Dead,
}

/// All jobs of this agent.
pub struct Jobs {
    folders: Folders,
    settings: Settings,
    spawner: Spawner,
}

impl Jobs {
    /// Opens the jobs in an agent's state folder.
    pub fn open(state: &Path, settings: Settings) -> io::Result<Self> {
        let spawner = Spawner::new(settings.supervisor.clone())?;
        spawner.make_ready();
        Ok(Self { folders: Folders::open(state)?, settings, spawner })
    }

    /// Starts a job: writes it down, then starts its supervisor. Needs a tokio runtime around it.
    ///
    /// That its command runs, or why not, is the first thing to hear.
    pub fn start(&self, key: KeyId, run: Run) -> Result<(Ear, Mouth), StartError> {
        run.check()?;
        let job = run.job;
        let made = self.folders.create(job, &self.record(key, &run)).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                StartError::Exists
            } else {
                StartError::Io(error)
            }
        })?;
        let begun = self.begin(run, &made.folder, &made.record);
        if begun.is_err() {
            // The supervisor was not told its command: whoever asks again may.
            let _ = self.folders.remove(job);
        }
        // From here on the command may run, whatever becomes of us.
        Ok(connection::halves(begun?)?)
    }

    /// Finds a job of this key's. Another key's is not found, as if it were not there.
    pub async fn attach(&self, key: KeyId, job: JobId) -> Result<Option<Attached>, StartError> {
        let began = tokio::time::Instant::now();
        loop {
            let found = match self.folders.find(job) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                result => result?,
            };
            if found.record.key != key {
                return Ok(None);
            }
            match found.state {
                State::Over(exit) => return Ok(Some(Attached::Over(exit))),
                State::Dead => return Ok(Some(Attached::Dead)),
                State::Alive => {}
            }
            match super::folder::connect(found.folder.as_fd()) {
                Ok(socket) => {
                    let (ear, mouth) = connection::halves(socket)?;
                    return Ok(Some(Attached::Alive(ear, mouth)));
                }
                // It does not listen yet, or no more.
                Err(_) if began.elapsed() < LOOK_FOR => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Forgets a job whose controller has everything.
    pub fn forget(&self, job: JobId) -> io::Result<()> {
        self.spawner.make_ready();
        self.folders.remove(job)
    }

    /// Removes what nobody came for in [`KEPT`], as of `now`.
    pub fn sweep(&self, now: SystemTime) {
        // A clock that stands before 1970 and a day is not set yet.
        let Some(before) = now.checked_sub(KEPT) else { return };
        match self.folders.sweep(before) {
            Ok(0) => {}
            Ok(count) => tracing::info!("removed {count} jobs that nobody came for in a day"),
            Err(error) => tracing::warn!("can't remove old jobs: {error}"),
        }
    }

    fn record(&self, key: KeyId, run: &Run) -> Record {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let summary = match &run.command {
            exec::Command::Shell(line) => Record::summary(line),
            exec::Command::Argv(words) => Record::summary(&words.join(&b' ')),
        };
        Record {
            version: VERSION,
            key,
            boot: self.settings.boot,
            began_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            summary,
        }
    }

    fn begin(&self, mut run: Run, folder: &File, record: &File) -> Result<UnixStream, StartError> {
        let cap = u64::try_from(self.settings.max_grace.as_millis()).unwrap_or(u64::MAX);
        run.grace_ms = run.grace_ms.min(cap);
        let begin = Begin {
            version: VERSION,
            run,
            env: self.settings.environment(),
            home: self.settings.user.home.clone(),
        };
        let begin = ToSupervisor::Begin(Box::new(begin));
        let frame = channel::message(&begin).map_err(ChannelError::Codec)?;
        Ok(self.spawner.start(&frame, [folder.as_fd(), record.as_fd()])?)
    }
}

/// The host's boot, which changes with every start of its kernel.
pub fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().replace('-', "").parse().map_err(|_| Errno::INVAL.into())
}
