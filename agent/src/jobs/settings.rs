//! What all jobs of an agent have in common, and what a command gets from it: its user, its clean
//! environment, its grace time.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use lariat_base::name::{BootId, HostName};
use lariat_wire::protocol::exec::Run;

use super::channel::{Begin, VERSION};
use crate::capacity;
use crate::config::Config;
use crate::core::ActAs;
use crate::user::User;

/// The agent's own binary: the one that runs, also when another has taken its place on disk.
pub(crate) const OWN_BINARY: &str = "/proc/self/exe";

/// The locale of a command whose host has none set.
const LANG: &str = "C.UTF-8";

/// What all jobs have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program that is run as `PROGRAM supervise`.
    pub supervisor: PathBuf,
    /// The host's name, which commands find in LARIAT_HOST.
    pub host: HostName,
    /// The commands' PATH.
    pub path: Vec<u8>,
    /// The commands' LANG.
    pub lang: Vec<u8>,
    /// The longest grace time that a controller may ask for.
    pub max_grace: Duration,
    /// Bytes of each output stream of a detached job that are kept.
    pub log_limit: u64,
    /// Bytes of output that all jobs keep on disk.
    pub output: u64,
    /// Most processes and threads of a job at a time, where they can be counted.
    pub tasks_max: u32,
    /// How long a detached job is kept after its end.
    pub keep: Duration,
    /// The host's boot.
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
            keep: jobs.keep,
            boot,
        }
    }

    /// What a supervisor is told for this request.
    pub(super) fn begin(&self, mut run: Run, act_as: &ActAs) -> Begin {
        let cap = u64::try_from(self.max_grace.as_millis()).unwrap_or(u64::MAX);
        run.grace_ms = run.grace_ms.min(cap);
        let become_user = match act_as {
            ActAs::Agent(_) => None,
            ActAs::Other(_, credentials) => Some(credentials.clone()),
        };
        let user = act_as.user();
        let (env, home) = (self.environment(user), user.home.clone());
        let (log_limit, tasks_max) = (self.log_limit, self.tasks_max);
        Begin { version: VERSION, run: run.into(), env, home, become_user, log_limit, tasks_max }
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

/// What one job may have of the processes and threads that the host can have, in percent. It is what
/// systemd gives to a service.
const SHARE_OF_TASKS: u64 = 15;

/// Most tasks of a job, unless the configuration says otherwise.
fn share_of_tasks() -> u32 {
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let limits = limits.map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let all = limits.into_iter().flatten().min().unwrap_or(u64::from(u32::MAX));
    u32::try_from((all / 100 * SHARE_OF_TASKS).max(1)).unwrap_or(u32::MAX)
}
