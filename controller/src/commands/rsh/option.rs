//! The values of ssh's options, as far as they have a meaning here. No I/O.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use lariat_base::units::parse_duration;

use super::table::{self, Meaning, Row, Setting};
use crate::forward::{BadSpec, Place, Specs};
use crate::via::{BadVia, Via};

/// The values of all options.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of ssh")]
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
    /// `ProxyJump`
    pub(super) jump: Option<Via>,
    /// `LocalForward`, `RemoteForward`, `DynamicForward`
    pub(super) forwards: Specs,
    /// `ClearAllForwardings`
    pub(super) no_forwards: bool,
    /// `IdentityFile`
    pub(super) identities: Vec<PathBuf>,
    /// `IdentitiesOnly`
    pub(super) identities_only: bool,
    /// `StdinNull`
    pub(super) no_stdin: bool,
    /// `SessionType`
    pub(super) session: Session,
    /// `RequestTTY`
    pub(super) terminal: Terminal,
    /// Whether `LogLevel` is a verbose one.
    pub(super) verbose: bool,
    /// `-W`
    pub(super) pipe: Option<Place>,
    /// `-O`
    pub(super) control: Option<Control>,
    /// `-G`
    pub(super) explain: bool,
    /// `-V`
    pub(super) version: bool,
}

/// What runs on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Session {
    /// A command, or a shell.
    #[default]
    Default,
    /// A subsystem, which the command names.
    Subsystem,
    /// Nothing.
    None,
}

/// Whether the command gets a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Terminal {
    /// A shell does, if this end has one.
    #[default]
    Auto,
    /// Not at all.
    No,
    /// If this end has one.
    Yes,
    /// In any case.
    Force,
}

/// What `-O` asks of the connection that ssh would share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Whether there is one.
    Check,
    /// To end it.
    End,
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
    #[error("{0}: {1:?} makes no sense")]
    Value(String, String),
    /// What is to be forwarded makes no sense.
    #[error("{0}: {1}")]
    Forward(String, BadSpec),
    /// A gateway makes no sense.
    #[error("{0}: {1}")]
    Jump(String, BadVia),
}

impl Options {
    /// Adds an option of `-o`. As in ssh, the first value wins, and quotes around it are no part of it.
    pub(super) fn named(&mut self, text: &[u8]) -> Result<(), BadOption> {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        let (name, value) = text
            .split_once(|c: char| c == '=' || c.is_whitespace())
            .map(|(name, value)| (name, value.trim_start_matches(['=', ' ', '\t'])))
            .filter(|(_, value)| !value.is_empty())
            .ok_or_else(|| BadOption::NoValue(text.to_owned()))?;
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let meaning = table::meaning(&name.to_ascii_lowercase());
        self.take(&format!("-o {name}"), meaning, quoted.unwrap_or(value))
    }

    /// Adds an option of the table, with the argument of its letter if it takes one.
    pub(super) fn lettered(&mut self, row: &Row, argument: &[u8]) -> Result<(), BadOption> {
        let shown = format!("-{}", char::from(row.letter.unwrap_or(b'o')));
        let argument = String::from_utf8_lossy(argument);
        // The second -t has a terminal in any case.
        let is_twice = row.letter == Some(b't') && self.terminal != Terminal::Auto;
        let value = match row.stands_for {
            Some(_) if is_twice => "force",
            Some(value) => value,
            None => &argument,
        };
        self.take(&shown, row.meaning, value)
    }

    fn take(&mut self, shown: &str, meaning: Meaning, value: &str) -> Result<(), BadOption> {
        let senseless = || BadOption::Value(shown.to_owned(), value.to_owned());
        let setting = match meaning {
            Meaning::Ignored => return Ok(()),
            Meaning::Refused(unless) if unless.contains(&value) => return Ok(()),
            Meaning::Refused(_) => return Err(BadOption::Refused(shown.to_owned())),
            Meaning::Set(setting) => setting,
        };
        let yes = || match value.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(senseless()),
        };
        // In a configuration, the two parts of what is forwarded have a space between them.
        let spec = || value.split_whitespace().collect::<Vec<_>>().join(":");
        let bad_spec = |bad| BadOption::Forward(shown.to_owned(), bad);
        match setting {
            Setting::User => {
                self.user.get_or_insert_with(|| value.to_owned());
            }
            Setting::Port => {
                let port = value.parse().map_err(|_| senseless())?;
                self.port.get_or_insert(port);
            }
            Setting::ConnectTimeout | Setting::Identity if value == "none" => {}
            Setting::ConnectTimeout => {
                let limit = parse_duration(value).map_err(|_| senseless())?;
                // In ssh, 0 means no limit.
                self.connect_timeout =
                    self.connect_timeout.or(Some(limit).filter(|l| !l.is_zero()));
            }
            // Patterns are not supported; programs name each variable.
            Setting::SendEnv => {
                self.send.extend(value.split_whitespace().map(ToOwned::to_owned));
            }
            Setting::SetEnv => {
                let (name, value) = value.split_once('=').ok_or_else(senseless)?;
                self.set.push((name.into(), value.into()));
            }
            Setting::Jump => {
                let via = value.parse().map_err(|bad| BadOption::Jump(shown.to_owned(), bad))?;
                self.jump.get_or_insert(via);
            }
            Setting::Local => self.forwards.local.push(spec().parse().map_err(bad_spec)?),
            Setting::Remote => self.forwards.remote.push(spec().parse().map_err(bad_spec)?),
            Setting::Dynamic => self.forwards.dynamic.push(spec().parse().map_err(bad_spec)?),
            Setting::ClearForwards => self.no_forwards = yes()?,
            Setting::Identity => self.identities.push(OsString::from_vec(value.into()).into()),
            Setting::IdentitiesOnly => self.identities_only = yes()?,
            Setting::NoStdin => self.no_stdin = yes()?,
            Setting::Session => {
                self.session = match value.to_ascii_lowercase().as_str() {
                    "none" => Session::None,
                    "subsystem" => Session::Subsystem,
                    "default" => Session::Default,
                    _ => return Err(senseless()),
                };
            }
            Setting::Terminal => {
                self.terminal = match value.to_ascii_lowercase().as_str() {
                    "no" | "false" => Terminal::No,
                    "yes" | "true" => Terminal::Yes,
                    "force" => Terminal::Force,
                    "auto" => Terminal::Auto,
                    _ => return Err(senseless()),
                };
            }
            Setting::LogLevel => {
                let level = value.to_ascii_lowercase();
                self.verbose |= level.starts_with("verbose") || level.starts_with("debug");
            }
            Setting::Pipe => self.pipe = Some(value.parse().map_err(bad_spec)?),
            Setting::Control => {
                self.control = Some(match value {
                    "check" => Control::Check,
                    "exit" | "stop" => Control::End,
                    _ => return Err(BadOption::Refused(format!("{shown} {value}"))),
                });
            }
            Setting::Explain => self.explain = true,
            Setting::Version => self.version = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(texts: &[&str]) -> Result<Options, BadOption> {
        let mut options = Options::default();
        texts.iter().try_for_each(|text| options.named(text.as_bytes()))?;
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
            "ControlPath=\"/root/.ansible/cp/1\"",
            "ControlPersist=60s",
            "ForwardX11 no",
            "LocalForward 8080 db:80",
            "DynamicForward=1080",
            "RequestTTY force",
            "IdentityFile=\"/a b\"",
        ]);
        let mut expected = Options {
            user: Some("bob".into()),
            port: Some(22),
            connect_timeout: Some(Duration::from_secs(7)),
            send: vec!["GIT_PROTOCOL".into(), "LANG".into()],
            set: vec![(b"A".into(), b"b=c".into())],
            terminal: Terminal::Force,
            identities: vec!["/a b".into()],
            ..Options::default()
        };
        expected.forwards.local.push("8080:db:80".parse().unwrap());
        expected.forwards.dynamic.push("1080".parse().unwrap());
        assert_eq!(taken, Ok(expected));
        assert_eq!(options(&["ConnectTimeout=0"]).unwrap().connect_timeout, None);
        assert_eq!(options(&["User=\"root\""]).unwrap().user.as_deref(), Some("root"));
        assert_eq!(options(&["ProxyJump=gw1,gw2"]).unwrap().jump, "gw1,gw2".parse().ok());
    }

    #[test]
    fn options_that_change_the_connection_are_refused() {
        for refused in ["proxyCommand=nc %h %p", "HostName=x", "Tunnel=yes", "ForwardX11=yes"] {
            let name = refused.split('=').next().unwrap();
            assert_eq!(options(&[refused]), Err(BadOption::Refused(format!("-o {name}"))));
        }
        for senseless in ["Port=x", "ConnectTimeout=x", "RequestTTY=maybe", "SessionType=x"] {
            assert!(matches!(options(&[senseless]), Err(BadOption::Value(..))), "{senseless}");
        }
        assert!(matches!(options(&["BatchMode"]), Err(BadOption::NoValue(_))));
        assert!(matches!(options(&["ProxyJump=-x"]), Err(BadOption::Jump(..))));
        assert!(matches!(options(&["LocalForward=80"]), Err(BadOption::Forward(..))));
    }
}
