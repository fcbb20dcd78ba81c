//! Two sources of one name would come to one place, where the second takes that of the first.

use std::collections::HashMap;

use lariat_common::escape::escape;

use super::base_name;
use crate::error::CliError;

/// Refuses sources that would get one name in the folder that they go into. The same path twice is the
/// same source, and a path that has no name of its own is told of where it is sent.
pub(crate) fn check_distinct<'a>(
    sources: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), CliError> {
    let mut first = HashMap::new();
    for path in sources {
        let Ok(name) = base_name(path, b"/") else { continue };
        let earlier = *first.entry(name).or_insert(path);
        if earlier != path {
            let (name, earlier, path) = (escape(name), escape(earlier), escape(path));
            let what = format!("two sources are named {name}: {earlier} and {path}");
            return Err(CliError::new(what).next("give each a DEST of its own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_meet_are_refused() {
        let check = |paths: &[&str]| check_distinct(paths.iter().map(|path| path.as_bytes()));
        for good in [&["a", "b/c"][..], &["a", "b", "a"], &["..", "a/..", "/", "a"], &[]] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for bad in [&["a/f", "x", "b/f"][..], &["f", "./f"], &["a/f/", "f"]] {
            let error = format!("{:?}", check(bad).unwrap_err());
            assert!(error.contains("two sources are named f"), "{error}");
        }
    }
}
