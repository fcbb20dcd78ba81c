//! Where sources go, by rsync's rule: a directory goes into DEST under its own name; `site/`, `.`, `..` and
//! the like mean its contents, of which DEST becomes the copy. A file gets DEST's name, unless DEST is a
//! directory or ends in `/`.

use std::collections::HashMap;

use lariat_base::escape::escape;
use lariat_wire::protocol::transfer::{Destination, check_name};

use crate::error::CliError;

/// Whether a source's path means a directory's contents: its last component is empty, `.` or `..`.
pub(crate) fn is_contents(path: &[u8]) -> bool {
    matches!(last(path), b"" | b"." | b"..")
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Where a file goes.
pub(crate) fn file_destination(source: &[u8], dest: &[u8]) -> Result<Destination, CliError> {
    Ok(Destination { path: dest.to_vec(), name: own_name(source)? })
}

/// Where a directory goes. `beneath` says that paths in it are listed, and land beneath DEST itself.
pub(crate) fn tree_destination(
    source: &[u8],
    dest: &[u8],
    beneath: bool,
) -> Result<Destination, CliError> {
    let name = if beneath || is_contents(source) { Vec::new() } else { own_name(source)? };
    Ok(Destination { path: dest.to_vec(), name })
}

fn own_name(source: &[u8]) -> Result<Vec<u8>, CliError> {
    let name = last(source);
    check_name(name).map_err(|why| CliError::new(format!("{}: {why}", escape(source))))?;
    Ok(name.to_vec())
}

/// Refuses sources that would come to one place. The same path twice is the same source.
///
/// With `delete` a directory's contents go alone, for they would take everything else in DEST away. With
/// `listed` there is one source that the listed paths are in.
pub(crate) fn check_sources<'a>(
    sources: impl IntoIterator<Item = &'a [u8]>,
    delete: bool,
    listed: bool,
) -> Result<(), CliError> {
    let (mut first, mut count, mut contents) = (HashMap::new(), 0, None);
    for path in sources {
        count += 1;
        if is_contents(path) {
            contents.get_or_insert(path);
            continue;
        }
        let name = last(path);
        let earlier = *first.entry(name).or_insert(path);
        if earlier != path {
            let (name, earlier, path) = (escape(name), escape(earlier), escape(path));
            let what = format!("two sources are named {name}: {earlier} and {path}");
            return Err(CliError::new(what).next("give each a DEST of its own"));
        }
    }
    if listed && count > 1 {
        return Err(CliError::new("--files-from lists paths of one SOURCE, and there are several"));
    }
    match contents {
        Some(path) if delete && count > 1 => {
            let path = escape(path);
            let what =
                format!("--delete: the contents of {path} would take the other sources away");
            Err(CliError::new(what).next("push or pull them by themselves, or leave out --delete"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(paths: &[&str], delete: bool, listed: bool) -> Result<(), String> {
        let sources = paths.iter().map(|path| path.as_bytes());
        check_sources(sources, delete, listed).map_err(|error| error.line())
    }

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

    #[test]
    fn only_names_that_meet_are_refused() {
        for good in
            [&["a", "b/c"][..], &["a", "b", "a"], &["..", "a/..", "/", "a"], &["a/f/", "f"], &[]]
        {
            assert_eq!(check(good, false, false), Ok(()), "{good:?}");
        }
        for bad in [&["a/f", "x", "b/f"][..], &["f", "./f"], &["/a//f", "f"]] {
            let error = check(bad, false, false).unwrap_err();
            assert!(error.contains("two sources are named f"), "{error}");
        }
    }

    #[test]
    fn contents_that_delete_go_alone_and_a_list_is_of_one_source() {
        for good in [&["a", "b"][..], &["a/"], &["."], &["a", "b", "c/d"]] {
            assert_eq!(check(good, true, false), Ok(()), "{good:?}");
        }
        for bad in [&["a/", "b"][..], &["b", "a/."], &["a/", "b/"], &["..", "a/"]] {
            let error = check(bad, true, false).unwrap_err();
            assert!(error.contains("--delete"), "{error}");
            assert_eq!(check(bad, false, false), Ok(()), "{bad:?}");
        }
        assert_eq!(check(&["a"], false, true), Ok(()));
        assert!(check(&["a", "b"], false, true).is_err());
    }
}
