//! `lariatd enroll-request`: this host's signing request, for `lariat enroll --ssh`. The private key is made here, if
//! there is none yet, and stays here.

use std::path::{Path, PathBuf};

use lariat_base::private;
use lariat_certs::request::{generate_key, signing_request};

use crate::config::Config;

/// Returns the request, DER in hexadecimal.
pub fn run(config: &Path) -> Result<String, String> {
    let path = key_file(config)?;
    let key = match private::read(&path) {
        Err(error) if error.is_not_there() => {
            let key = generate_key().map_err(|error| error.to_string())?;
            private::replace(&path, key.as_bytes()).map_err(|error| error.to_string())?;
            key
        }
        read => read.map_err(|error| error.to_string())?,
    };
    let request = signing_request(&key).map_err(|_| {
        format!("{}: no private key in PEM form; remove the file for a new one", path.display())
    })?;
    Ok(hex::encode(request))
}

/// The file that the configuration names; before there is one, its place beside it.
fn key_file(config: &Path) -> Result<PathBuf, String> {
    match Config::load(config) {
        Ok(config) => Ok(config.key),
        Err(_) if !config.exists() => Ok(config.with_file_name("host.key")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use lariat_certs::request::RequestedKey;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_a_damaged_one_is_refused() {
        let directory = crate::private_directory();
        let config = directory.path().join("agent.toml");
        let key = || {
            let request = hex::decode(run(&config).unwrap()).unwrap();
            RequestedKey::verify(&request).unwrap().spki()
        };
        let first = key();
        assert_eq!(key(), first);
        let file = directory.path().join("host.key");
        private::replace(&file, b"nonsense").unwrap();
        let why = run(&config).unwrap_err();
        assert!(why.contains("host.key: no private key in PEM form; remove"), "{why}");
        std::fs::remove_file(&file).unwrap();
        assert_ne!(key(), first);
        private::replace(&config, b"colour = 1\n").unwrap();
        assert!(run(&config).unwrap_err().contains("agent.toml:1: unknown key colour"));
    }
}
