//! Which names are excluded: by `--exclude` and `--include`, as in a `.gitignore`, or because `--files-from`
//! does not list them. Both ends apply the filter: an excluded name is not sent, refused if it is sent all the
//! same, and not removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::Stat;

use lariat_wire::protocol::tree::Rule;

/// The limit on the cost of all globs together; see [`cost`]. Globs of this cost are compiled in a tenth of a second
/// and some 10 MiB, and any list of names costs less.
const MAX_COST: usize = 64 * 1024;

/// The cost of a wildcard.
const WILDCARD: usize = 8;

/// The cost of a glob without letters.
const GLOB: usize = 16;

/// Compiled rules.
#[derive(Clone, Debug)]
pub struct Filter {
    rules: Gitignore,
    /// The paths of `--files-from`. Empty if everything is sent.
    only: Arc<BTreeSet<Vec<u8>>>,
    /// What earlier sources send.
    earlier: Arc<Earlier>,
}

/// What earlier sources send to the same destination, by paths relative to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Paths that the sender passes over.
    pub taken: BTreeSet<Vec<u8>>,
    /// Directories that earlier sources have too, by absolute paths: their attributes are sent.
    pub shared: BTreeMap<Vec<u8>, PathBuf>,
}

/// Why globs are refused.
#[derive(Debug, thiserror::Error)]
pub enum BadGlob {
    /// It is empty.
    #[error("a glob is empty")]
    Empty,
    /// There are too many globs, or too many wildcards in them.
    #[error(
        "the globs of --exclude and --include are too many, or have too many wildcards, together; name directories instead of what is in them"
    )]
    TooCostly,
    /// It does not parse.
    #[error("the glob {glob:?} can't be read: {why}")]
    Unread {
        /// The glob as it was given.
        glob: String,
        /// What is wrong with it.
        why: ignore::Error,
    },
}

impl Filter {
    /// Compiles the rules. The last one that matches a name decides.
    pub fn new(rules: &[Rule], only: &[Vec<u8>]) -> Result<Self, BadGlob> {
        if rules.iter().map(|rule| cost(&rule.glob)).sum::<usize>() > MAX_COST {
            return Err(BadGlob::TooCostly);
        }
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for Rule { include, glob } in rules {
            let bad = |why| BadGlob::Unread { glob: glob.clone(), why };
            if glob.trim().is_empty() {
                return Err(BadGlob::Empty);
            }
            // At the beginning of a line these letters have a special meaning.
            let escape = if !include && glob.starts_with(['!', '#']) { "\\" } else { "" };
            let line = format!("{}{escape}{glob}", if *include { "!" } else { "" });
            builder.add_line(None, &line).map_err(bad)?;
        }
        let rules = builder.build().map_err(|why| BadGlob::Unread { glob: String::new(), why })?;
        Ok(Self { rules, only: Arc::new(only.iter().cloned().collect()), earlier: Arc::default() })
    }

    /// Leaves to earlier sources what they send.
    #[must_use]
    pub fn after(self, earlier: Earlier) -> Self {
        Self { earlier: Arc::new(earlier), ..self }
    }

    /// The attributes of a directory that an earlier source has too.
    pub(super) fn attributes_of(&self, path: &[u8]) -> Option<Stat> {
        rustix::fs::stat(self.earlier.shared.get(path)?).ok()
    }

    /// Whether a path, relative to the root, or a directory on the way to it, is excluded.
    pub fn excludes_below(&self, path: &[u8], is_directory: bool) -> bool {
        let parents = (0..path.len()).filter(|&at| path[at] == b'/');
        parents.into_iter().any(|end| self.excludes(&path[..end], true))
            || self.excludes(path, is_directory)
    }

    /// The paths of `--files-from`. Empty if everything is sent.
    pub(super) fn only(&self) -> &BTreeSet<Vec<u8>> {
        &self.only
    }

    /// Whether a path, relative to the root, is excluded. Everything in an excluded directory is excluded too, and
    /// must not be passed to this.
    pub(super) fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        self.earlier.taken.contains(path)
            || self.rules_out(path, is_directory)
            || !self.is_listed(path, is_directory)
    }

    /// Whether the rules exclude a path, listed or not.
    pub(super) fn rules_out(&self, path: &[u8], is_directory: bool) -> bool {
        let name = Path::new(OsStr::from_bytes(path));
        !self.rules.is_empty() && self.rules.matched(name, is_directory).is_ignore()
    }

    /// Whether the rules exclude a file that is itself the source, by its own name. A directory that is itself the
    /// source is never excluded.
    pub fn excludes_file(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.rules.matched(name, false).is_ignore())
    }

    /// Whether a path is listed, or in a listed directory, or a directory on the way to a listed path.
    fn is_listed(&self, path: &[u8], is_directory: bool) -> bool {
        let ends = (0..path.len()).filter(|&at| path[at] == b'/').chain([path.len()]);
        if self.only.is_empty() || ends.into_iter().any(|end| self.only.contains(&path[..end])) {
            return true;
        }
        let inside = [path, b"/"].concat();
        let mut behind = self.only.range(inside.clone()..);
        is_directory && behind.next().is_some_and(|next| next.starts_with(&inside))
    }
}

/// The cost of compiling a glob in memory and time, in plain letters.
fn cost(glob: &str) -> usize {
    let wildcards = glob.bytes().filter(|letter| b"*?[]{},\\".contains(letter)).count();
    GLOB + glob.len() + wildcards * WILDCARD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[(bool, &str)]) -> Filter {
        let rule = |&(include, glob): &(bool, &str)| Rule { include, glob: glob.to_owned() };
        Filter::new(&rules.iter().map(rule).collect::<Vec<_>>(), &[]).unwrap()
    }

    #[test]
    fn globs_are_as_in_a_gitignore_and_the_last_one_decides() {
        let rules = filter(&[(false, "*.o"), (true, "keep.o"), (false, "/top"), (false, "dir/")]);
        for (path, is_directory, excluded) in [
            ("a.o", false, true),
            ("deep/down/a.o", false, true),
            ("deep/keep.o", false, false),
            ("top", false, true),
            ("deep/top", false, false),
            ("dir", true, true),
            ("dir", false, false),
            ("a.c", false, false),
        ] {
            assert_eq!(rules.excludes(path.as_bytes(), is_directory), excluded, "{path}");
        }
        assert!(!filter(&[]).excludes(b"a", false));
        assert!(filter(&[(false, "*")]).excludes(b"\xff\n", false));
    }

    #[test]
    fn a_source_file_is_matched_by_its_own_name() {
        let rules = filter(&[(false, "*.o"), (true, "keep.o"), (false, "/top"), (false, "dir/")]);
        let judge = |path: &str| rules.excludes_file(Path::new(path));
        assert!(judge("a.o") && judge("/srv/a.o") && judge("down/top"));
        assert!(!judge("keep.o") && !judge("a.o/a.c") && !judge("dir") && !judge(".."));
    }

    #[test]
    fn paths_are_passed_over_and_what_is_in_an_excluded_directory_is_excluded() {
        let earlier = Earlier { taken: [b"a/b".to_vec()].into(), ..Earlier::default() };
        let rules = filter(&[(false, "dir/")]).after(earlier);
        assert!(rules.excludes(b"a/b", false) && rules.excludes(b"a/b", true));
        assert!(!rules.excludes(b"b", false) && !rules.excludes(b"a", true));
        for (path, excluded) in
            [("dir/x", true), ("x/dir/y/z", true), ("a/b/c", true), ("a/c", false)]
        {
            assert_eq!(rules.excludes_below(path.as_bytes(), false), excluded, "{path}");
        }
    }

    #[test]
    fn line_prefixes_are_escaped_in_globs() {
        assert!(filter(&[(false, "#a")]).excludes(b"#a", false));
        assert!(filter(&[(false, "!a")]).excludes(b"!a", false));
        assert!(!filter(&[(false, "!a")]).excludes(b"a", false));
    }

    #[test]
    fn listed_paths_include_their_contents_and_parents() {
        let only = [b"a/b".to_vec(), b"a-".to_vec(), b"c/d/e".to_vec()];
        let filter = Filter::new(&[], &only).unwrap();
        for (path, is_directory, taken) in [
            ("a", true, true),
            ("a", false, false),
            ("a/b", false, true),
            ("a/b/c/d", false, true),
            ("a/bc", false, false),
            ("a/c", false, false),
            ("a-", false, true),
            ("a-b", false, false),
            ("c/d", true, true),
            ("c/d/f", false, false),
            ("c/d/e", true, true),
            ("b", true, false),
        ] {
            assert_eq!(!filter.excludes(path.as_bytes(), is_directory), taken, "{path}");
        }
    }

    #[test]
    fn rules_that_would_cost_much_are_refused_at_once_and_the_costliest_others_are_quick() {
        let build = |count: usize, glob: &str| {
            let rule = Rule { include: false, glob: glob.to_owned() };
            Filter::new(&vec![rule; count], &[])
        };
        let long = |part: &str| part.repeat(1024 / part.len());
        for part in ["*", "a*", "?", "[a-z]", "{a,b}", "**/", "*/", "[!a]*", "\\*?"] {
            let glob = long(part);
            let began = std::time::Instant::now();
            let refused = build(900, &glob);
            assert!(matches!(refused, Err(BadGlob::TooCostly)), "{part}");
            let most = MAX_COST / cost(&glob);
            assert!(build(most, &glob).is_ok(), "{part}");
            // A hundredth of what such rules could cost before.
            let took = began.elapsed();
            assert!(took < std::time::Duration::from_secs(2), "{part}: {took:?}");
        }
        let names = (0..1024).map(|number| format!("node_modules/package-{number}/*.o"));
        let rules: Vec<Rule> = names.map(|glob| Rule { include: false, glob }).collect();
        assert!(Filter::new(&rules, &[]).is_ok(), "a long list of names");
    }

    #[test]
    fn a_glob_that_does_not_parse_is_named() {
        for bad in ["a[z-a]", "[a", "a{b"] {
            for include in [false, true] {
                let rule = Rule { include, glob: bad.to_owned() };
                let error = Filter::new(&[rule], &[]).unwrap_err().to_string();
                assert!(error.contains(bad), "{error}");
            }
        }
        for empty in ["", " "] {
            let rule = Rule { include: false, glob: empty.to_owned() };
            assert!(matches!(Filter::new(&[rule], &[]), Err(BadGlob::Empty)));
        }
    }
}
