//! The supported subset of ssh's `-o NAME=VALUE`. No I/O.
//!
//! Other options affect ssh's login or output, and are ignored.

use std::time::Duration;

use lariat_base::units::parse_duration;

/// Options that would change the connection or forward something, so they can't be ignored.
const REFUSED: &[&str] = &[
    "dynamicforward",
    "hostname",
    "localforward",
    "proxycommand",
    "proxyjump",
    "remotecommand",
    "remoteforward",
    "tunnel",
];

/// Values with which [`REFUSED`] options request nothing.
const NOTHING: &[&str] = &["none", "no"];

/// The values of `-o`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `User`
    pub(super) user: Option<String>,
    /// `Port`, which must be the host's own.
    pub(super) port: Option<u16>,
    /// `ConnectTimeout`
    pub(super) connect_timeout: Option<Duration>,
    /// `SendEnv`: local variables that the command receives.
    pub(super) send: Vec<String>,
    /// `SetEnv`: variables for the command.
    pub(super) set: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why an option is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadOption {
    /// The value is missing.
    #[error("-o {0:?} is not NAME=VALUE")]
    NoValue(String),
    /// The option requests something unsupported.
    #[error("ssh's option {0} is not supported")]
    Refused(String),
    /// The value is invalid.
    #[error("-o {0}: {1:?} makes no sense")]
    Value(String, String),
}

impl Options {
    /// Adds an option. As in ssh, the first value wins.
    pub(super) fn take(&mut self, text: &[u8]) -> Result<(), BadOption> {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        let (name, value) = text
            .split_once(|c: char| c == '=' || c.is_whitespace())
            .map(|(name, value)| (name, value.trim_start_matches(['=', ' '])))
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| BadOption::NoValue(text.to_owned()))?;
        let senseless = || BadOption::Value(name.to_owned(), value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "user" => {
                self.user.get_or_insert_with(|| value.to_owned());
            }
            "port" => {
                let port = value.parse().map_err(|_| senseless())?;
                self.port.get_or_insert(port);
            }
            "connecttimeout" if value != "none" => {
                let limit = parse_duration(value).map_err(|_| senseless())?;
                // In ssh, 0 means no limit.
                self.connect_timeout =
                    self.connect_timeout.or(Some(limit).filter(|l| !l.is_zero()));
            }
            // Patterns are not supported; programs name each variable.
            "sendenv" => self.send.extend(value.split_whitespace().map(ToOwned::to_owned)),
            "setenv" => {
                let (name, value) = value.split_once('=').ok_or_else(senseless)?;
                self.set.push((name.into(), value.into()));
            }
            other if REFUSED.contains(&other) && !NOTHING.contains(&value) => {
                return Err(BadOption::Refused(name.to_owned()));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(texts: &[&str]) -> Result<Options, BadOption> {
        let mut options = Options::default();
        texts.iter().try_for_each(|text| options.take(text.as_bytes()))?;
        Ok(options)
    }

    #[test]
    fn supported_options_are_kept_and_others_ignored() {
        let taken = options(&[
            "user bob",
            "User=eve",
            "ConnectTimeout=7",
            "Port=22",
            "port 23",
            "SendEnv=GIT_PROTOCOL LANG",
            "SetEnv=A=b=c",
            "BatchMode=yes",
            "ProxyCommand=none",
            "StrictHostKeyChecking no",
        ]);
        let expected = Options {
            user: Some("bob".into()),
            port: Some(22),
            connect_timeout: Some(Duration::from_secs(7)),
            send: vec!["GIT_PROTOCOL".into(), "LANG".into()],
            set: vec![(b"A".into(), b"b=c".into())],
        };
        assert_eq!(taken, Ok(expected));
        assert_eq!(options(&["ConnectTimeout=0"]).unwrap().connect_timeout, None);
    }

    #[test]
    fn options_that_change_the_connection_are_refused() {
        let refused = options(&["proxyJump=gate"]);
        assert_eq!(refused, Err(BadOption::Refused("proxyJump".into())));
        assert!(matches!(options(&["BatchMode"]), Err(BadOption::NoValue(_))));
        assert!(matches!(options(&["Port=x"]), Err(BadOption::Value(..))));
        assert!(matches!(options(&["ConnectTimeout=x"]), Err(BadOption::Value(..))));
    }
}
