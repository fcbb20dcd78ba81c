//! A leading `~/`, which no shell has replaced: the user's home, on the host and here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use lariat_base::escape::escape;

use crate::error::CliError;

/// What follows `~` and its slashes, if the path begins with the user's home.
fn beneath_home(path: &[u8]) -> Option<&[u8]> {
    match path {
        b"~" => Some(b""),
        [b'~', b'/', rest @ ..] => {
            let start = rest.iter().position(|&byte| byte != b'/').unwrap_or(rest.len());
            Some(&rest[start..])
        }
        _ => None,
    }
}

/// A path on a host, where a relative one begins at the user's home already. Another user's home is not
/// looked up, which would be a directory named `~bob` in silence.
pub(crate) fn remote(path: &[u8]) -> Result<Vec<u8>, CliError> {
    if let Some(rest) = beneath_home(path) {
        return Ok(rest.to_vec());
    }
    let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    let is_user =
        |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
    match first {
        [b'~', name @ ..] if first.len() < path.len() && is_user(name) => {
            let (shown, name) = (escape(path), escape(name));
            let error = CliError::new(format!("{shown}: the home of {name} is not looked up"));
            Err(error.hint(format!("the whole path, or ./{shown} for a directory of that name")))
        }
        _ => Ok(path.to_vec()),
    }
}

/// A path here. Without `HOME` it stays as it is.
pub(crate) fn local(path: &OsStr) -> OsString {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (beneath_home(path.as_bytes()), home) {
        (Some(rest), Some(home)) => {
            let mut whole = home.into_vec();
            whole.push(b'/');
            whole.extend_from_slice(rest);
            OsString::from_vec(whole)
        }
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_tilde_is_the_home_that_relative_paths_begin_at() {
        for (path, expected) in [
            ("~/y", "y"),
            ("~", ""),
            ("~/", ""),
            ("~//y/", "y/"),
            ("~/.", "."),
            ("/a/~/b", "/a/~/b"),
            ("a~", "a~"),
            ("./~/x", "./~/x"),
            ("~$lock.doc", "~$lock.doc"),
            ("~backup", "~backup"),
            ("", ""),
        ] {
            let remote = remote(path.as_bytes()).map_err(|error| error.line());
            assert_eq!(remote.as_deref(), Ok(expected.as_bytes()), "{path}");
        }
        for path in ["~bob/x", "~bob/", "~b-o_b.1/x/y"] {
            let error = remote(path.as_bytes()).unwrap_err().line();
            assert!(error.contains("is not looked up"), "{error}");
        }
    }
}
