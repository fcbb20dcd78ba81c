//! Targets: the hosts that a command line selects, and the users there.

mod expression;
mod fold;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod pattern;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub(crate) use expression::{BadTargets, Chosen, Targets};
pub(crate) use fold::{fold, natural};

use crate::tilde;

/// What the help says of a target.
pub(crate) const HELP: &str = "\
Which hosts: web1, a range web[01-20], a pattern 'web*', @TAG or all

',' unites, '&' intersects and binds tighter, '!' excludes: 'all,!web[02-40]', '@web&@berlin'. USER@ in front acts as that \
user. Quote what the shell would replace.";

/// `TARGET:PATH`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemotePath {
    /// The target.
    pub(crate) target: Targets,
    /// The path there, as given; empty for the user's home.
    pub(crate) path: Vec<u8>,
}

/// A text is not a valid `TARGET:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRemotePath {
    /// The target is invalid.
    #[error(transparent)]
    Target(#[from] BadTargets),
    /// The `:` after the target is missing.
    #[error("{word:?} is not TARGET:PATH{meant}", word = .0, meant = meant(.0))]
    NoPath(String),
    /// The path begins with another user's home.
    #[error("{0}")]
    Path(String),
}

/// What a text without a path may be meant as.
fn meant(text: &str) -> String {
    match text.parse::<Targets>() {
        Ok(_) => format!("; did you mean {text}: (the home directory) or {text}:/PATH?"),
        Err(_) => ", such as web1:/srv/app".to_owned(),
    }
}

/// Whether a user's name is well-formed; only the host knows whether it exists.
fn is_user(text: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || ",&!*?[]:/".contains(c);
    !text.is_empty() && !text.starts_with('-') && !text.contains(bad)
}

impl RemotePath {
    /// Splits at the first `:`, which a target can't contain.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, BadRemotePath> {
        let bytes = text.as_bytes();
        let no_path = || BadRemotePath::NoPath(text.to_string_lossy().into_owned());
        let colon = bytes.iter().position(|&byte| byte == b':').ok_or_else(no_path)?;
        let target = std::str::from_utf8(&bytes[..colon]).map_err(|_| no_path())?;
        let path = tilde::remote(&bytes[colon + 1..]);
        let path = path.map_err(|error| BadRemotePath::Path(error.line()))?;
        Ok(Self { target: target.parse()?, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_bytes_and_begins_after_the_first_colon() {
        let parse = |bytes: &[u8]| RemotePath::parse(OsStr::from_bytes(bytes));
        let path = |target: &str, path: &[u8]| {
            Ok(RemotePath { target: target.parse().unwrap(), path: path.into() })
        };
        assert_eq!(parse(b"web1:/a:b\xff*"), path("web1", b"/a:b\xff*"));
        assert_eq!(parse(b"web1:"), path("web1", b""));
        assert_eq!(parse(b"web1:~/x"), path("web1", b"x"));
        assert!(matches!(parse(b"web1:~bob/x"), Err(BadRemotePath::Path(_))));
        assert_eq!(parse(b"bob@web1:x").unwrap().target.plain().unwrap().user.unwrap(), "bob");
        assert_eq!(parse(b"@web,!web[1-3]:x"), path("@web,!web[1-3]", b"x"));
        assert!(matches!(parse(b"/srv/app"), Err(BadRemotePath::NoPath(_))));
        assert!(matches!(parse(b"\xff:x"), Err(BadRemotePath::NoPath(_))));
        assert!(matches!(parse(b":x"), Err(BadRemotePath::Target(_))));
    }
}
