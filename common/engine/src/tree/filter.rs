//! Which names are left out: `--exclude` and `--include`, as in a `.gitignore`, and what `--files-from`
//! does not list. Both ends keep them: what is left out is neither sent, nor taken when it is sent all the same, nor removed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use lariat_wire::protocol::tree::Rule;

/// What all globs together may cost: see [`cost`]. The most that is read, in a tenth of a second and some
/// 10 MiB, is more than any list of names needs.
const MOST_COST: usize = 64 * 1024;

/// What a letter costs that stands for more than itself.
const WILD: usize = 8;

/// What each glob costs beside its letters.
const GLOB: usize = 16;

/// Rules that are ready to be asked.
#[derive(Clone, Debug)]
pub struct Filter {
    rules: Gitignore,
    /// What is sent, if not everything.
    only: Arc<BTreeSet<Vec<u8>>>,
}

/// A glob that does not parse.
#[derive(Debug, thiserror::Error)]
pub enum BadGlob {
    /// It fits nothing, or everything.
    #[error("a glob is empty")]
    Empty,
    /// There are too many of them, or they have too many wildcards.
    #[error(
        "the globs of --exclude and --include are too many, or have too many wildcards, together; name directories instead of what is in them"
    )]
    TooCostly,
    /// It is not one.
    #[error("the glob {glob:?} can't be read: {why}")]
    Unread {
        /// As it was given.
        glob: String,
        /// What is wrong with it.
        why: ignore::Error,
    },
}

impl Filter {
    /// Reads the rules. The last one that fits a name decides.
    pub fn new(rules: &[Rule], only: &[Vec<u8>]) -> Result<Self, BadGlob> {
        if rules.iter().map(|rule| cost(&rule.glob)).sum::<usize>() > MOST_COST {
            return Err(BadGlob::TooCostly);
        }
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for Rule { include, glob } in rules {
            let bad = |why| BadGlob::Unread { glob: glob.clone(), why };
            if glob.trim().is_empty() {
                return Err(BadGlob::Empty);
            }
            // The first letter of a line has a meaning that a glob's first letter must not get.
            let escape = if !include && glob.starts_with(['!', '#']) { "\\" } else { "" };
            let line = format!("{}{escape}{glob}", if *include { "!" } else { "" });
            builder.add_line(None, &line).map_err(bad)?;
        }
        let rules = builder.build().map_err(|why| BadGlob::Unread { glob: String::new(), why })?;
        Ok(Self { rules, only: Arc::new(only.iter().cloned().collect()) })
    }

    /// What is sent, if not everything.
    pub(super) fn only(&self) -> &BTreeSet<Vec<u8>> {
        &self.only
    }

    /// Whether a path, relative to the root, is left out. What is in a directory that is left out is so
    /// too, and is not asked for.
    pub(super) fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        self.rules_out(path, is_directory) || !self.is_listed(path, is_directory)
    }

    /// Whether the rules leave it out, listed or not.
    pub(super) fn rules_out(&self, path: &[u8], is_directory: bool) -> bool {
        let name = Path::new(OsStr::from_bytes(path));
        !self.rules.is_empty() && self.rules.matched(name, is_directory).is_ignore()
    }

    /// Whether a file that is named itself is left out by the rules: its own name is put to them. A directory
    /// that is named itself never is, for the rules are about what is in it.
    pub fn excludes_file(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.rules.matched(name, false).is_ignore())
    }

    /// Whether a path is to be sent, or in a directory that is, or a directory on the way to one that is.
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

/// What a glob costs in memory and time before it is asked anything, in the length of plain letters.
fn cost(glob: &str) -> usize {
    let wild = glob.bytes().filter(|letter| b"*?[]{},\\".contains(letter)).count();
    GLOB + glob.len() + wild * WILD
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
    fn a_file_that_is_named_itself_is_judged_by_its_own_name() {
        let rules = filter(&[(false, "*.o"), (true, "keep.o"), (false, "/top"), (false, "dir/")]);
        let judge = |path: &str| rules.excludes_file(Path::new(path));
        assert!(judge("a.o") && judge("/srv/a.o") && judge("down/top"));
        assert!(!judge("keep.o") && !judge("a.o/a.c") && !judge("dir") && !judge(".."));
    }

    #[test]
    fn signs_that_begin_a_line_are_letters_of_a_glob() {
        assert!(filter(&[(false, "#a")]).excludes(b"#a", false));
        assert!(filter(&[(false, "!a")]).excludes(b"!a", false));
        assert!(!filter(&[(false, "!a")]).excludes(b"a", false));
    }

    #[test]
    fn of_a_list_all_is_taken_that_is_on_it_in_it_or_leads_to_it() {
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
            let most = MOST_COST / cost(&glob);
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
