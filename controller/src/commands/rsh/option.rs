//! ssh's `-o NAME=VALUE`: the few that mean something here. No I/O.
//!
//! All others say how ssh logs in, or what it prints, and are passed over.

use std::time::Duration;

use lariat_base::units::parse_duration;

/// Options that would lead elsewhere, or bring something along, and so are not passed over.
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

/// Values of [`REFUSED`] options that ask for nothing.
const NOTHING: &[&str] = &["none", "no"];

/// What was said with `-o`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `User`
    pub(super) user: Option<String>,
    /// `Port`, which must be the host's own.
    pub(super) port: Option<u16>,
    /// `ConnectTimeout`
    pub(super) connect_timeout: Option<Duration>,
    /// `SendEnv`: variables of ours that the command gets too.
    pub(super) send: Vec<String>,
    /// `SetEnv`: variables for the command.
    pub(super) set: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why an option can't be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadOption {
    /// It has no value.
    #[error("-o {0:?} is not NAME=VALUE")]
    NoValue(String),
    /// What it asks for would not happen.
    #[error("ssh's option {0} is not supported")]
    Refused(String),
    /// Its value makes no sense.
    #[error("-o {0}: {1:?} makes no sense")]
    Value(String, String),
}

impl Options {
    /// Takes one. As in ssh, what is said first counts.
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
                // ssh's 0 is no limit of its own.
                self.connect_timeout =
                    self.connect_timeout.or(Some(limit).filter(|l| !l.is_zero()));
            }
            // Patterns are for servers that choose among them; programs name what they need.
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
    fn what_means_something_is_kept_and_the_rest_passed_over() {
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
    fn what_would_lead_elsewhere_is_refused() {
        let refused = options(&["proxyJump=gate"]);
        assert_eq!(refused, Err(BadOption::Refused("proxyJump".into())));
        assert!(matches!(options(&["BatchMode"]), Err(BadOption::NoValue(_))));
        assert!(matches!(options(&["Port=x"]), Err(BadOption::Value(..))));
        assert!(matches!(options(&["ConnectTimeout=x"]), Err(BadOption::Value(..))));
    }
}
