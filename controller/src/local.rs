//! `--local`: finds the socket of the agent on this machine.

use std::path::{Path, PathBuf};

use lariat_base::os_error::io_error;
use lariat_base::toml_file;
use serde::Deserialize;

use crate::error::CliError;

/// The default path of the agent's configuration.
const CONFIG: &str = "/etc/lariat/agent.toml";

/// The agent's state directory if its configuration is unreadable.
const STATE: &str = "/var/lib/lariat";

/// The socket's name in the state directory.
const SOCKET: &str = "agent.sock";

/// The part of the agent's configuration that determines the socket.
#[derive(Deserialize)]
struct AgentConfig {
    state: PathBuf,
}

/// The socket of the agent with this configuration, else that of `$LARIAT_AGENT_CONFIG`, else the default one.
pub(crate) fn socket(config: Option<&Path>) -> Result<PathBuf, CliError> {
    let variable = std::env::var_os("LARIAT_AGENT_CONFIG").filter(|path| !path.is_empty());
    match config.map(ToOwned::to_owned).or(variable.map(PathBuf::from)) {
        Some(named) => Ok(state(&named, &read(&named)?)?.join(SOCKET)),
        None => match std::fs::read_to_string(CONFIG) {
            Ok(text) => Ok(state(Path::new(CONFIG), &text)?.join(SOCKET)),
            Err(_) => Ok(Path::new(STATE).join(SOCKET)),
        },
    }
}

fn read(config: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(config)
        .map_err(|e| CliError::new(format!("read {}: {}", config.display(), io_error(&e))))
}

/// The state directory, which is relative to the configuration.
fn state(config: &Path, text: &str) -> Result<PathBuf, CliError> {
    let AgentConfig { state } = toml_file::parse(config, text)?;
    Ok(config.parent().unwrap_or(Path::new("")).join(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_relative_to_the_configuration() {
        let of = |text: &str| state(Path::new("/b/agent.toml"), text).map_err(|e| e.line());
        assert_eq!(of("name = \"web1\"\nstate = \"state\"\n"), Ok("/b/state".into()));
        assert_eq!(of("state = \"/var/lib/x\"\n[exec]\n"), Ok("/var/lib/x".into()));
        assert_eq!(of("").unwrap_err(), "/b/agent.toml:1: the key state is missing");
    }

    #[test]
    fn a_named_configuration_must_exist() {
        let error = socket(Some(Path::new("/nowhere/agent.toml"))).unwrap_err().line();
        assert_eq!(error, "read /nowhere/agent.toml: no such file or directory");
    }
}
