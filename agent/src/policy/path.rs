//! Paths as a rule sees them: by their text alone. Opening them is the engine's work, which passes no link.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A directory to which an entry's pushes or pulls are confined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root(Vec<u8>);

/// A text is not the path of a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a root is a directory's absolute path, without '.', '..' or '//'")]
pub struct BadRoot;

impl FromStr for Root {
    type Err = BadRoot;

    fn from_str(text: &str) -> Result<Self, BadRoot> {
        let text = text.as_bytes();
        let path = if text.len() > 1 { text.strip_suffix(b"/").unwrap_or(text) } else { text };
        if is_plain(path) && !path.contains(&0) { Ok(Self(path.to_vec())) } else { Err(BadRoot) }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lariat_base::escape::escape(&self.0))
    }
}

impl Root {
    /// The path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as it is written in a keyring.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// The path of what lies below the root, or is it, relative to the root. A slash at its end stays.
    pub fn relative<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let root = self.0.strip_suffix(b"/").unwrap_or(&self.0);
        match path.strip_prefix(root)? {
            [] => Some(b""),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

/// The absolute form of a path in a request, without looking at the disk. `None` if it has `.`, `..` or `//`,
/// whose meaning depends on the disk, or is in no home.
pub fn absolute(home: Option<&[u8]>, path: &[u8]) -> Option<Vec<u8>> {
    let whole = if path.starts_with(b"/") {
        path.to_vec()
    } else {
        let home = home?;
        let home = home.strip_suffix(b"/").unwrap_or(home);
        if path.is_empty() { home.to_vec() } else { [home, b"/", path].concat() }
    };
    let whole = if whole.is_empty() { b"/".to_vec() } else { whole };
    let plain = match whole.strip_suffix(b"/") {
        Some(plain) if !plain.is_empty() && plain != b"/" => plain,
        _ => &whole,
    };
    is_plain(plain).then_some(whole)
}

/// Whether a path is absolute, has no component `.` or `..`, and no empty one.
pub fn is_plain(path: &[u8]) -> bool {
    match path {
        b"/" => true,
        [b'/', rest @ ..] => {
            rest.split(|&b| b == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
        }
        _ => false,
    }
}

/// Whether a text has a component `.` or `..`.
pub(super) fn has_dots(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'/').any(|name| matches!(name, b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_an_absolute_path() {
        for (text, path) in [("/", "/"), ("/srv", "/srv"), ("/srv/", "/srv"), ("/a/..b", "/a/..b")]
        {
            assert_eq!(text.parse::<Root>().unwrap().as_bytes(), path.as_bytes());
        }
        for bad in ["", "srv", "~/x", "/srv/..", "/srv/.", "/./srv", "//srv", "/srv//", "/a\0"] {
            assert_eq!(bad.parse::<Root>(), Err(BadRoot), "{bad}");
        }
    }

    #[test]
    fn a_root_holds_itself_and_what_is_below() {
        let below = |root: &str, path: &'static str| {
            let below = root.parse::<Root>().unwrap().relative(path.as_bytes());
            below.map(|below| String::from_utf8(below.to_vec()).unwrap())
        };
        assert_eq!(below("/srv", "/srv").as_deref(), Some(""));
        assert_eq!(below("/srv", "/srv/").as_deref(), Some(""));
        assert_eq!(below("/srv", "/srv/a/b").as_deref(), Some("a/b"));
        assert_eq!(below("/srv", "/srv/a/").as_deref(), Some("a/"));
        assert_eq!(below("/", "/srv").as_deref(), Some("srv"));
        assert_eq!(below("/", "/").as_deref(), Some(""));
        for outside in ["/srvx", "/", "/sr", "/srv2/a"] {
            assert_eq!(below("/srv", outside), None, "{outside}");
        }
    }

    #[test]
    fn paths_are_made_absolute_by_their_text() {
        let whole = |path: &str| absolute(Some(b"/home/u"), path.as_bytes());
        for (path, expected) in [
            ("", "/home/u"),
            ("a", "/home/u/a"),
            ("a/b/", "/home/u/a/b/"),
            ("/", "/"),
            ("/x/..y", "/x/..y"),
        ] {
            assert_eq!(whole(path).as_deref(), Some(expected.as_bytes()), "{path}");
        }
        for bad in [".", "..", "a/..", "./a", "/a/./b", "a//b", "//", "/a//", "/.."] {
            assert_eq!(whole(bad), None, "{bad}");
        }
        assert_eq!(absolute(Some(b"/"), b"a").as_deref(), Some(&b"/a"[..]));
        assert_eq!(absolute(None, b"/a").as_deref(), Some(&b"/a"[..]));
        assert_eq!((absolute(None, b"a"), absolute(Some(b"nowhere"), b"a")), (None, None));
    }
}
