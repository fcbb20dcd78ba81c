//! Which host a command line means. For now a target names one host; expressions over several come
//! later and will be parsed and resolved here.

mod expression;
mod fold;
mod pattern;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use lariat_common::name::{BadHostName, HostName};

use crate::error::CliError;
use crate::inventory::{Host, Inventory};
pub(crate) use expression::{Selection, Targets};
pub(crate) use fold::{fold, natural};

/// Letters that make a text an expression over several hosts, or a part of one.
const EXPRESSION: &[char] = &[',', '&', '!', '*', '?', '[', ']', '@'];

/// `[user@]HOST`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The user on the host, if another than the agent's default.
    pub(crate) user: Option<String>,
    /// The host.
    pub(crate) host: HostName,
}

/// `TARGET:PATH`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemotePath {
    /// Where.
    pub(crate) target: Target,
    /// The path there, as it was given; empty means the user's home.
    pub(crate) path: Vec<u8>,
}

/// A text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTarget {
    /// It is no host's name.
    #[error(transparent)]
    Host(#[from] BadHostName),
    /// It names several hosts.
    #[error("{0:?} names several hosts; this version takes one host at a time")]
    Several(String),
    /// The user before `@` is none.
    #[error("{0:?} is not a user's name")]
    User(String),
    /// There is no `:` that ends the target.
    #[error("{0:?} is not TARGET:PATH, such as web1:/srv/app")]
    NoPath(String),
}

impl Target {
    /// The host, which must be in the inventory.
    pub(crate) fn find<'a>(&self, inventory: &'a Inventory) -> Result<&'a Host, CliError> {
        inventory.host(&self.host)
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        // An `@` in the first place begins a tag; a user comes before any other.
        let split = if text.starts_with('@') { None } else { text.split_once('@') };
        let (user, host) = split.map_or((None, text), |(user, host)| (Some(user), host));
        if host == "all" || host.contains(EXPRESSION) {
            return Err(BadTarget::Several(text.to_owned()));
        }
        if let Some(user) = user.filter(|user| !is_user(user)) {
            return Err(BadTarget::User(user.to_owned()));
        }
        Ok(Self { user: user.map(ToOwned::to_owned), host: host.parse()? })
    }
}

/// Whether a user's name could be one; the host knows which there are.
fn is_user(text: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || ",&!*?[]:/".contains(c);
    !text.is_empty() && !text.starts_with('-') && !text.contains(bad)
}

impl RemotePath {
    /// Splits at the first `:`; a target has none.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, BadTarget> {
        let bytes = text.as_bytes();
        let no_path = || BadTarget::NoPath(text.to_string_lossy().into_owned());
        let colon = bytes.iter().position(|&byte| byte == b':').ok_or_else(no_path)?;
        let target = std::str::from_utf8(&bytes[..colon]).map_err(|_| no_path())?;
        Ok(Self { target: target.parse()?, path: bytes[colon + 1..].to_vec() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user}@{}", self.host),
            None => self.host.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(user: Option<&str>, host: &str) -> Target {
        Target { user: user.map(ToOwned::to_owned), host: host.parse().unwrap() }
    }

    #[test]
    fn one_host_with_or_without_a_user() {
        assert_eq!("web1".parse(), Ok(target(None, "web1")));
        assert_eq!("www-data@web1".parse(), Ok(target(Some("www-data"), "web1")));
        for several in
            ["all", "web[01-20]", "web*", "@web", "a,b", "a&b", "!a", "bob@all", "bob@@web", "we?1"]
        {
            let parsed = several.parse::<Target>();
            assert_eq!(parsed, Err(BadTarget::Several(several.to_owned())));
        }
        for user in ["", "a b", "-x", "a/b"] {
            let parsed = format!("{user}@web1").parse::<Target>();
            let expected = if user.is_empty() {
                BadTarget::Several("@web1".to_owned())
            } else {
                BadTarget::User(user.to_owned())
            };
            assert_eq!(parsed, Err(expected));
        }
        for bad in ["", "Web", "a b", "10.0.0.1", "bob@"] {
            assert!(matches!(bad.parse::<Target>(), Err(BadTarget::Host(_))), "{bad}");
        }
    }

    #[test]
    fn a_path_is_bytes_and_begins_after_the_first_colon() {
        let parse = |bytes: &[u8]| RemotePath::parse(OsStr::from_bytes(bytes));
        let path = |path: &[u8]| Ok(RemotePath { target: target(None, "web1"), path: path.into() });
        assert_eq!(parse(b"web1:/a:b\xff*"), path(b"/a:b\xff*"));
        assert_eq!(parse(b"web1:"), path(b""));
        assert_eq!(parse(b"bob@web1:x").unwrap().target.user.as_deref(), Some("bob"));
        assert!(matches!(parse(b"/srv/app"), Err(BadTarget::NoPath(_))));
        assert!(matches!(parse(b"\xff:x"), Err(BadTarget::NoPath(_))));
        assert!(matches!(parse(b":x"), Err(BadTarget::Host(_))));
        assert!(matches!(parse(b"@web:x"), Err(BadTarget::Several(_))));
    }
}
