//! Where sources go, by rsync's rule: a directory goes into DEST under its own name; `site/`, `.`, `..` and
//! the like mean its contents, of which DEST becomes the copy. A file gets DEST's name, unless DEST is a
//! directory or ends in `/`.

use lariat_base::escape::escape;
use lariat_wire::protocol::transfer::{Destination, check_name};

/// A source whose name can't be given to its copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", escape(.source_path))]
pub struct BadDestination {
    source_path: Vec<u8>,
    why: String,
}

/// Whether a source's path means a directory's contents: its last component is empty, `.` or `..`.
pub fn is_contents(path: &[u8]) -> bool {
    matches!(last(path), b"" | b"." | b"..")
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Where a file goes.
pub fn file_destination(source: &[u8], dest: &[u8]) -> Result<Destination, BadDestination> {
    Ok(Destination { path: dest.to_vec(), name: own_name(source)? })
}

/// Where a directory goes. `beneath` says that paths in it are listed, and land beneath DEST itself.
pub fn tree_destination(
    source: &[u8],
    dest: &[u8],
    beneath: bool,
) -> Result<Destination, BadDestination> {
    let name = if beneath || is_contents(source) { Vec::new() } else { own_name(source)? };
    Ok(Destination { path: dest.to_vec(), name })
}

fn own_name(source: &[u8]) -> Result<Vec<u8>, BadDestination> {
    let name = last(source);
    check_name(name)
        .map_err(|why| BadDestination { source_path: source.to_vec(), why: why.to_string() })?;
    Ok(name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_a_slash_or_dots_means_the_contents() {
        for path in ["", "/", ".", "..", "a/", "a//", "a/.", "a/..", "./", "../", "/srv/."] {
            assert!(is_contents(path.as_bytes()), "{path}");
        }
        for path in ["a", "/a", "a.", "..a", "a/...", ".a", "a/b"] {
            assert!(!is_contents(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_directory_goes_into_dest_but_its_contents_become_it() {
        let name = |source: &str, beneath| {
            let dest = tree_destination(source.as_bytes(), b"/srv/www", beneath).unwrap();
            assert_eq!(dest.path, b"/srv/www");
            String::from_utf8(dest.name).unwrap()
        };
        assert_eq!(name("/home/site", false), "site");
        assert_eq!(name("/home/site", true), "");
        for contents in ["site/", "site/.", ".", "..", "site/..", "/"] {
            assert_eq!(name(contents, false), "");
        }
        assert_eq!(file_destination(b"/srv/a", b"").unwrap().name, b"a");
        let long = [b'x'; 256];
        assert!(file_destination(&long, b"www").is_err());
        assert!(tree_destination(&long, b"www", false).is_err());
    }
}
