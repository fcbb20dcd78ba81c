//! Refuses sources that would come to one place.

use std::collections::HashMap;

use lariat_base::escape::escape;
use lariat_client::transfer::is_contents;

use crate::error::CliError;

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
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
