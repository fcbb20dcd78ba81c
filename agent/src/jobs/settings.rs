//! Settings that all jobs of an agent share, and those that a command inherits: its user, its clean
//! environment, its grace time.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use lariat_base::clock::whole_milliseconds;
use lariat_base::name::{BootId, HostName};
use lariat_wire::protocol::exec::Run;

use super::channel::{Begin, VERSION};
use crate::capacity;
use crate::config::Config;
use crate::core::ActAs;
use crate::user::User;

/// The agent's own binary: the running one, even if the file was replaced.
pub(crate) const OWN_BINARY: &str = "/proc/self/exe";

/// The locale of commands if the agent has none.
const LANG: &str = "C.UTF-8";

/// Settings that all jobs share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program that is run as `PROGRAM supervise`.
    pub supervisor: PathBuf,
    /// The host's name, for the commands' variable LARIAT_HOST.
    pub host: HostName,
    /// The commands' PATH.
    pub path: Vec<u8>,
    /// The commands' LANG.
    pub lang: Vec<u8>,
    /// The longest grace time that a controller may ask for.
    pub max_grace: Duration,
    /// Bytes of each output stream of a detached job that are kept.
    pub log_limit: u64,
    /// Bytes of output of all jobs that are kept on disk.
    pub output: u64,
    /// Most processes and threads of a job at a time, where the kernel can count them.
    pub tasks_max: u32,
    /// Most bytes of memory of a job, where the kernel can count them.
    pub memory_max: u64,
    /// How long a detached job is kept after its end.
    pub keep: Duration,
    /// The host's current boot.
    pub boot: BootId,
}

impl Settings {
    /// Settings for all jobs of an agent.
    pub fn new(config: &Config, boot: BootId) -> Self {
        let (exec, jobs) = (&config.exec, &config.jobs);
        let lang = std::env::var_os("LANG").filter(|lang| !lang.is_empty());
        Self {
            supervisor: PathBuf::from(OWN_BINARY),
            host: config.name.clone(),
            path: exec.path.as_bytes().to_vec(),
            lang: lang.map_or_else(|| LANG.as_bytes().to_vec(), OsStringExt::into_vec),
            max_grace: exec.grace_max,
            log_limit: jobs.output,
            output: config.limits.output.unwrap_or_else(|| capacity::output(&config.state)),
            tasks_max: exec.tasks_max.map_or_else(share_of_tasks, NonZeroU32::get),
            memory_max: exec.memory_max.unwrap_or_else(capacity::job_memory),
            keep: jobs.keep,
            boot,
        }
    }

    /// The first message to the supervisor that runs this request.
    pub(super) fn begin(&self, mut run: Run, act_as: &ActAs, program: Option<Vec<u8>>) -> Begin {
        let cap = whole_milliseconds(self.max_grace);
        run.grace_ms = run.grace_ms.min(cap);
        let become_user = match act_as {
            ActAs::Agent(_) => None,
            ActAs::Other(_, credentials) => Some(credentials.clone()),
        };
        let user = act_as.user();
        let (env, home) = (self.environment(user), user.home.clone());
        Begin {
            version: VERSION,
            run: run.into(),
            env,
            home,
            become_user,
            log_limit: self.log_limit,
            tasks_max: self.tasks_max,
            program,
            memory_max: self.memory_max,
        }
    }

    fn environment(&self, user: &User) -> Vec<(Vec<u8>, Vec<u8>)> {
        let User { uid: _, gid: _, name, home, shell } = user;
        [
            ("PATH", self.path.as_slice()),
            ("HOME", home),
            ("USER", name),
            ("LOGNAME", name),
            ("SHELL", shell),
            ("LANG", &self.lang),
            ("LARIAT_HOST", self.host.as_str().as_bytes()),
        ]
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .to_vec()
    }
}

/// The percentage of the host's processes and threads that one job may use. systemd gives a service the same.
const SHARE_OF_TASKS: u64 = 15;

/// The default limit of a job's tasks.
fn share_of_tasks() -> u32 {
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let limits = limits.map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let all = limits.into_iter().flatten().min().unwrap_or(u64::from(u32::MAX));
    u32::try_from((all / 100 * SHARE_OF_TASKS).max(1)).unwrap_or(u32::MAX)
}
