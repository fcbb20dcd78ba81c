//! `--local`: finds the agent on this machine: its socket, and the host's name.

use std::path::{Path, PathBuf};

use lariat_base::name::HostName;
use lariat_base::os_error::io_error;
use lariat_base::toml_file;
use serde::Deserialize;

use crate::error::CliError;

/// The default path of the agent's configuration.
const CONFIG: &str = "/etc/lariat/agent.toml";

/// The socket's name in the state directory.
const SOCKET: &str = "agent.sock";

/// The agent on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnHost {
    /// The host's name.
    name: HostName,
    /// The agent's configuration, which says so.
    config: PathBuf,
    /// Where the agent listens.
    pub(crate) socket: PathBuf,
}

/// The part of the agent's configuration that determines the host's name and the socket.
#[derive(Deserialize)]
struct AgentConfig {
    name: HostName,
    state: PathBuf,
}

impl OwnHost {
    /// Finds the agent with this configuration, else that of `$LARIAT_AGENT_CONFIG`, else the default one.
    pub(crate) fn find(config: Option<&Path>) -> Result<Self, CliError> {
        let variable = std::env::var_os("LARIAT_AGENT_CONFIG").filter(|path| !path.is_empty());
        let named = config.map(ToOwned::to_owned).or(variable.map(PathBuf::from));
        let is_named = named.is_some();
        let config = named.unwrap_or_else(|| CONFIG.into());
        let text = std::fs::read_to_string(&config).map_err(|error| {
            let error = CliError::new(format!("read {}: {}", config.display(), io_error(&error)));
            if is_named { error } else { error.next("--agent-config FILE names another one") }
        })?;
        Self::parse(config, &text)
    }

    /// The state directory is relative to the configuration.
    fn parse(config: PathBuf, text: &str) -> Result<Self, CliError> {
        let AgentConfig { name, state } = toml_file::parse(&config, text)?;
        let socket = config.parent().unwrap_or(Path::new("")).join(state).join(SOCKET);
        Ok(Self { name, config, socket })
    }

    /// Refuses every other host: the socket leads to this one, whatever name was typed.
    pub(crate) fn check(&self, host: &HostName) -> Result<(), CliError> {
        let Self { name, config, .. } = self;
        if host == name {
            return Ok(());
        }
        let config = config.display();
        let error = format!("--local: this host is {name}, by {config}, and not {host}");
        Err(CliError::new(error).next(format!("name {name}, or leave out --local")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_relative_to_the_configuration() {
        let of = |text: &str| {
            let own = OwnHost::parse("/b/agent.toml".into(), &format!("name = \"web1\"\n{text}"));
            own.map(|own| own.socket).map_err(|e| e.line())
        };
        assert_eq!(of("state = \"state\"\n"), Ok("/b/state/agent.sock".into()));
        assert_eq!(of("state = \"/var/lib/x\"\n[exec]\n"), Ok("/var/lib/x/agent.sock".into()));
        assert_eq!(of("").unwrap_err(), "/b/agent.toml:1: the key state is missing");
    }

    #[test]
    fn a_named_configuration_must_exist() {
        let error = OwnHost::find(Some(Path::new("/nowhere/agent.toml"))).unwrap_err().line();
        assert_eq!(error, "read /nowhere/agent.toml: no such file or directory");
    }
}
