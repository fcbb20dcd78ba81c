//! The agent's configuration file, `agent.toml`.
//!
//! An unknown key is an error that names the key and its line, so that a misspelt limit never silently means
//! the default. Relative paths are relative to the file's own directory, so that a bundle can lie anywhere.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use lariat_base::name::{EnrolmentId, HostName};
use lariat_base::toml_file::{self, BadContent, TomlFileError, from_text};
use lariat_wire::limits::LOGIN_DEADLINE;
use lariat_wire::protocol::verb::Verb;
use serde::Deserialize;

use crate::budget;

mod dial;
mod status;
mod values;

pub use dial::{Dial, Gateway};
pub use status::{Status, StatusPlace};
pub use values::parse_listen;

/// Where packages put the configuration.
pub const DEFAULT_PATH: &str = "/etc/lariat/agent.toml";

/// The agent's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The host's name.
    #[serde(deserialize_with = "from_text")]
    pub name: HostName,
    /// The enrollment that this host's keys were derived for.
    #[serde(deserialize_with = "from_text")]
    pub enrolment: EnrolmentId,
    /// Where to listen; nowhere if it only dials out. With port 0 the system picks the port.
    #[serde(default, deserialize_with = "values::socket_address")]
    pub listen: Option<SocketAddr>,
    /// The host's certificate, PEM.
    #[serde(deserialize_with = "values::path")]
    pub certificate: PathBuf,
    /// The certificate's private key, PEM.
    #[serde(deserialize_with = "values::path")]
    pub key: PathBuf,
    /// The fleet's CA, PEM: whose certificate a gateway must have that the agent dials, and whose hosts are looked for.
    #[serde(default = "ca", deserialize_with = "values::path")]
    pub ca: PathBuf,
    /// The file of keys that may log in.
    #[serde(deserialize_with = "values::path")]
    pub keyring: PathBuf,
    /// The directory for jobs and sockets.
    #[serde(deserialize_with = "values::path")]
    pub state: PathBuf,
    /// What processes on this host may do over the socket in `state`. Empty by default: there is no socket.
    #[serde(default, deserialize_with = "values::verbs")]
    pub local: Vec<Verb>,
    /// Limits on connections that have not logged in.
    #[serde(default)]
    pub admission: Admission,
    /// How commands run.
    #[serde(default)]
    pub exec: Exec,
    /// What is kept of detached jobs.
    #[serde(default)]
    pub jobs: Jobs,
    /// Limits on all keys together.
    #[serde(default)]
    pub limits: Limits,
    /// How the audit is kept.
    #[serde(default)]
    pub audit: Audit,
    /// How the agent is replaced.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// The status page.
    #[serde(default)]
    pub status: Status,
    /// The gateways that the agent dials.
    pub dial: Option<Dial>,
    /// Whether the agent answers those who look for hosts on the local network.
    #[serde(default)]
    pub discover: bool,
}

/// How the agent is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upgrade {
    /// How long a new agent has to be logged in to. After that the old one is put back.
    #[serde(deserialize_with = "values::to_confirm")]
    pub confirm: Duration,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { confirm: Duration::from_secs(60) }
    }
}

/// How the audit is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// What a line waits for.
    pub sync: Sync,
    /// What happens to a request whose line can't be written. Owners' keys are served in any case.
    pub full: Full,
    /// How long lines are kept.
    #[serde(deserialize_with = "values::at_least_a_day")]
    pub keep: Duration,
    /// What lines show of a command.
    pub argv: Argv,
}

impl Default for Audit {
    fn default() -> Self {
        let keep = Duration::from_secs(365 * 24 * 3600);
        Self { sync: Sync::Group, full: Full::Refuse, keep, argv: Argv::Full }
    }
}

/// When lines of the audit are synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Within 50 ms, together with others.
    Group,
    /// Each one before its request goes on.
    Each,
}

/// What happens to requests that the audit can't record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    /// They are refused.
    Refuse,
    /// They are served, and counted.
    Warn,
}

/// What the audit shows of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Argv {
    /// All words.
    Full,
    /// The program only.
    Program,
}

/// Limits on what keys may use. A key that is not an owner (see [`budget`]) gets at most half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Concurrent sessions. By default as many as fit the host's memory, 64 to 1024.
    #[serde(deserialize_with = "values::some_count")]
    pub sessions: Option<usize>,
    /// Concurrent jobs, detached ones included. By default as many as fit the host's memory, 16 to 512.
    #[serde(deserialize_with = "values::some_count")]
    pub jobs: Option<usize>,
    /// Bytes of output that all jobs keep on disk. By default a tenth of the disk, at least 1G.
    #[serde(deserialize_with = "values::some_size")]
    pub output: Option<u64>,
    /// Bytes that requests keep in memory. By default a quarter of the host's memory, 32M to 1G.
    #[serde(deserialize_with = "values::some_memory")]
    pub memory: Option<usize>,
}

impl Limits {
    /// The limits, with `default` for those that are not set.
    pub fn or(&self, default: budget::Limits) -> budget::Limits {
        budget::Limits {
            sessions: self.sessions.unwrap_or(default.sessions),
            jobs: self.jobs.unwrap_or(default.jobs),
            memory: self.memory.unwrap_or(default.memory),
        }
    }
}

/// Limits on connections that have not logged in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Most connections of one source (an IPv4 address, an IPv6 /64) that have not logged in.
    #[serde(deserialize_with = "values::at_least_one")]
    pub source_places: usize,
    /// Most connections of all sources that have not logged in.
    #[serde(deserialize_with = "values::at_least_one")]
    pub places: usize,
    /// The time from accepting a connection to the end of its login.
    #[serde(deserialize_with = "values::positive_duration")]
    pub login_deadline: Duration,
    /// Networks that are never penalised.
    pub exempt: Vec<IpNet>,
}

impl Default for Admission {
    fn default() -> Self {
        Self { source_places: 16, places: 256, login_deadline: LOGIN_DEADLINE, exempt: Vec::new() }
    }
}

/// How commands run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exec {
    /// PATH of commands.
    pub path: String,
    /// Longest time that a job waits for a controller whose connection broke.
    #[serde(deserialize_with = "values::duration")]
    pub grace_max: Duration,
    /// Most processes and threads of one job, where the system can count them. By default 15 % of the host's
    /// limit.
    pub tasks_max: Option<NonZeroU32>,
    /// Most bytes of memory of one job, where the system can count them. By default 90 % of the host's.
    #[serde(deserialize_with = "values::job_memory")]
    pub memory_max: Option<u64>,
}

impl Default for Exec {
    fn default() -> Self {
        Self {
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            grace_max: Duration::from_secs(600),
            tasks_max: None,
            memory_max: None,
        }
    }
}

/// What is kept of detached jobs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Bytes kept of each of a job's two output streams; the newest are kept.
    #[serde(deserialize_with = "values::log_size")]
    pub output: u64,
    /// How long output and exit are kept after a job's end.
    #[serde(deserialize_with = "values::duration")]
    pub keep: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { output: 64 * 1024 * 1024, keep: Duration::from_secs(7 * 24 * 3600) }
    }
}

impl Config {
    /// The settings that differ in `new` and are used at the start only, so that a reload does not change them.
    pub fn changed_at_start(&self, new: &Self) -> Vec<&'static str> {
        let login_deadline = new.admission.login_deadline;
        let admission = Admission { login_deadline, ..self.admission.clone() };
        let limits = Limits { output: new.limits.output, ..self.limits.clone() };
        let settings = [
            ("name", self.name == new.name),
            ("enrolment", self.enrolment == new.enrolment),
            ("listen", self.listen == new.listen),
            ("state", self.state == new.state),
            ("[admission]", admission == new.admission),
            ("local", self.local.is_empty() == new.local.is_empty()),
            ("[limits]", limits == new.limits),
            ("[status]", self.status == new.status),
            ("discover", self.discover == new.discover),
        ];
        settings.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// Loads a configuration file, which others may not change. Relative paths are resolved.
    pub fn load(path: &Path) -> Result<Self, TomlFileError> {
        let mut config: Self = toml_file::load_public(path)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let Self { certificate, key, ca, keyring, state, dial, .. } = &mut config;
        let dial = dial.iter_mut().map(|dial| &mut dial.key);
        for file in [certificate, key, ca, keyring, state].into_iter().chain(dial) {
            *file = directory.join(&*file);
        }
        config.status.resolve(directory);
        if config.listen.is_none() && config.dial.is_none() {
            let message = "the key listen is missing, and there is no [dial]".to_owned();
            return Err(BadContent { path: path.to_owned(), line: 1, message }.into());
        }
        Ok(config)
    }
}

fn ca() -> PathBuf {
    "ca.pem".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "\
name = \"web1\"
enrolment = \"000102030405060708090a0b0c0d0e0f\"
listen = \"[::]:7433\"
certificate = \"host.pem\"
key = \"host.key\"
keyring = \"/etc/keyring.toml\"
state = \"state\"
";

    fn parse(more: &str) -> Result<Config, String> {
        let directory = crate::private_directory();
        let path = directory.path().join("agent.toml");
        lariat_base::private::create(&path, format!("{MINIMAL}{more}").as_bytes()).unwrap();
        let mut config = Config::load(&path).map_err(|error| {
            error.to_string().rsplit_once('/').map(|(_, text)| text.to_owned()).unwrap()
        })?;
        assert_eq!(config.key, directory.path().join("host.key"));
        config.key = "host.key".into();
        Ok(config)
    }

    #[test]
    fn defaults_stand_where_nothing_is_said() {
        let config = parse("").unwrap();
        assert_eq!(config.name.as_str(), "web1");
        assert_eq!(config.keyring, Path::new("/etc/keyring.toml"));
        assert_eq!(config.admission, Admission::default());
        assert_eq!(config.exec, Exec::default());
        assert_eq!(config.jobs, Jobs::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.audit, Audit::default());
        let config = parse(
            "[admission]\nplaces = 9\nexempt = [\"10.0.0.0/8\", \"fd00::/8\"]\n\
             [exec]\ngrace_max = \"1h\"\ntasks_max = 60\nmemory_max = \"2M\"\n[jobs]\noutput = \"1M\"\nkeep = \"1d\"\n\
             [limits]\nsessions = 40\nmemory = \"64M\"\n\
             [audit]\nsync = \"each\"\nfull = \"warn\"\nkeep = \"30d\"\nargv = \"program\"\n",
        )
        .unwrap();
        assert_eq!((config.admission.places, config.admission.source_places), (9, 16));
        assert_eq!(config.admission.exempt.len(), 2);
        assert_eq!(config.exec.grace_max, Duration::from_secs(3600));
        assert_eq!(config.exec.tasks_max, NonZeroU32::new(60));
        assert_eq!(config.exec.memory_max, Some(2 << 20));
        let memory = Some(64 * 1024 * 1024);
        assert_eq!(config.limits, Limits { sessions: Some(40), memory, ..Limits::default() });
        let default = budget::Limits { sessions: 1, jobs: 2, memory: 3 };
        assert_eq!((config.limits.or(default).sessions, config.limits.or(default).jobs), (40, 2));
        let day = Duration::from_secs(24 * 3600);
        let (sync, full, keep, argv) = (Sync::Each, Full::Warn, 30 * day, Argv::Program);
        assert_eq!(config.audit, Audit { sync, full, keep, argv });
        assert_eq!(config.jobs, Jobs { output: 1024 * 1024, keep: day });
    }

    #[test]
    fn the_man_page_has_every_key() {
        let page = include_str!("../../docs/man/lariat-agent.toml.5");
        let tables = "admission exec jobs limits audit upgrade status dial".split(' ');
        for table in tables.map(|name| format!("[{name}]")).chain([String::new()]) {
            let error = parse(&format!("{table}\nzzzz = 1\n")).unwrap_err();
            let (_, keys) = error.split_once("the keys here are: ").unwrap();
            for key in keys.split(", ") {
                assert!(page.contains(key), "{table} {key}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_with_line_and_key() {
        let error = |more| parse(more).unwrap_err();
        let unknown = error("lisen = \"x\"\n");
        assert!(unknown.starts_with("agent.toml:8: unknown key lisen"), "{unknown}");
        let nested = error("[admission]\nplace = 1\n");
        assert!(nested.starts_with("agent.toml:9: unknown key place"), "{nested}");
        assert_eq!(
            parse_listen("here").unwrap_err(),
            "\"here\" is not an IP address and a port, such as 0.0.0.0:7433 or [::]:7433"
        );
        assert_eq!(error("[admission]\nplaces = 0\n"), "agent.toml:9: 0 would let nobody in");
        let empty = error("ca = \"\"\n");
        assert_eq!(empty, "agent.toml:8: a path can't be empty");
        assert!(error("[exec]\ntasks_max = 0\n").starts_with("agent.toml:9: "));
        assert_eq!(
            error("[exec]\nmemory_max = \"1K\"\n"),
            "agent.toml:9: it can't be less than 1M"
        );
        let deadline = error("[admission]\nlogin_deadline = \"soon\"\n");
        assert!(deadline.starts_with("agent.toml:9: \"soon\" is not a duration"), "{deadline}");
        let output = error("[jobs]\noutput = \"1K\"\n");
        assert_eq!(output, "agent.toml:9: it can't be less than 64K");
        let memory = error("[limits]\nmemory = \"1M\"\n");
        assert_eq!(memory, "agent.toml:9: it can't be less than 16M");
        assert!(error("[limits]\njobs = 0\n").starts_with("agent.toml:9: 0 would"));
        assert_eq!(error("[audit]\nkeep = \"1h\"\n"), "agent.toml:9: it can't be less than 1d");
        assert!(error("[audit]\nfull = \"drop\"\n").starts_with("agent.toml:9: unknown variant"));
        let network = error("[admission]\nexempt = [\"10.0.0.0\"]\n");
        assert!(network.starts_with("agent.toml:9: "), "{network}");
    }
}
