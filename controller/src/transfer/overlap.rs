//! Names that several sources of a push would give to one destination: the first source has them, as with rsync.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lariat_base::escape::escape;
use lariat_client::transfer::is_contents;
use lariat_engine::tree::{Earlier, Filter};

/// A source, and where its names begin below the destination.
struct Place<'a> {
    source: &'a OsStr,
    /// The source's own name there; empty if only its contents are sent.
    name: &'a [u8],
}

/// What a source does not send, because an earlier one has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Paths in it, and directories that both have. All of the source, if an empty path is taken.
    pub(crate) earlier: Earlier,
    /// The earlier source that has the first of them.
    first: Vec<u8>,
}

impl Taken {
    /// Whether nothing of the source is left.
    pub(crate) fn is_all(&self) -> bool {
        self.earlier.taken.contains(&[][..])
    }

    /// What is said of it.
    pub(crate) fn told(&self, source: &OsStr) -> Option<String> {
        let first = self.earlier.taken.first()?;
        let name = if first.is_empty() { "it".to_owned() } else { escape(first) };
        let (source, earlier) = (escape(source.as_bytes()), escape(&self.first));
        Some(left_out(&source, &name, self.earlier.taken.len() - 1, &earlier))
    }
}

/// The note for a name, and so many more, that are not copied.
pub(super) fn left_out(what: &str, name: &str, more: usize, earlier: &str) -> String {
    let (more, are, them) = match more {
        0 => (String::new(), "is", "it"),
        1 => (" and one more name".to_owned(), "are", "them"),
        more => (format!(" and {more} more names"), "are", "them"),
    };
    format!("{what}: {name}{more} {are} left out, for {earlier} comes first and has {them} too")
}

/// For each of the sources, in order, what it does not send. `filter` excludes names of all of them.
pub(crate) fn taken(sources: &[&OsStr], filter: &Filter) -> Vec<Taken> {
    let places: Vec<Place<'_>> = sources.iter().map(|source| Place::new(source)).collect();
    let all = 0..places.len();
    all.map(|number| places[number].taken_by(&places[..number], filter)).collect()
}

impl<'a> Place<'a> {
    fn new(source: &'a OsStr) -> Self {
        let path = source.as_bytes();
        let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        Self { source, name: if is_contents(path) { b"" } else { last } }
    }

    /// What of this source one of the earlier ones has. Directories are looked into where both have them.
    fn taken_by(&self, earlier: &[Place<'_>], filter: &Filter) -> Taken {
        let mut taken = Taken::default();
        let mut left = if earlier.is_empty() { Vec::new() } else { vec![Vec::new()] };
        while let Some(path) = left.pop() {
            let Some(is_directory) = self.is_directory(&path) else { continue };
            let there = joined(self.name, &path);
            let found = earlier.iter().find_map(|place| Some((place, place.has(&there, filter)?)));
            match found {
                None => {}
                Some((_, true)) if is_directory => {
                    left.extend(self.names_in(&path));
                    let shared = earlier.iter().find_map(|place| place.directory(&there));
                    taken.earlier.shared.extend(shared.map(|shared| (path, shared)));
                }
                Some((place, _)) => {
                    if taken.earlier.taken.first().is_none_or(|first| path < *first) {
                        taken.first = place.source.as_bytes().to_vec();
                    }
                    taken.earlier.taken.insert(path);
                }
            }
        }
        taken
    }

    /// Whether this source gives the destination this path, and if so, whether it is a directory.
    fn has(&self, there: &[u8], filter: &Filter) -> Option<bool> {
        if there.is_empty() {
            return Some(true);
        }
        let path = self.path(there)?;
        let is_directory = self.is_directory(path)?;
        (path.is_empty() || !filter.excludes_below(path, is_directory)).then_some(is_directory)
    }

    /// The directory of this source that becomes this one at the destination.
    fn directory(&self, there: &[u8]) -> Option<PathBuf> {
        let path = self.path(there).filter(|path| self.is_directory(path) == Some(true))?;
        // Threads that walk directories have working directories of their own.
        std::path::absolute(Path::new(self.source).join(OsStr::from_bytes(path))).ok()
    }

    /// The path in this source of what has this path at the destination.
    fn path<'p>(&self, there: &'p [u8]) -> Option<&'p [u8]> {
        match there.strip_prefix(self.name)? {
            path if self.name.is_empty() => Some(path),
            b"" => Some(b""),
            [b'/', path @ ..] => Some(path),
            _ => None,
        }
    }

    /// Whether this path of the source is a directory. The source itself may be a link to one.
    fn is_directory(&self, path: &[u8]) -> Option<bool> {
        let source = Path::new(self.source);
        let metadata = match path {
            b"" => source.metadata(),
            path => source.join(OsStr::from_bytes(path)).symlink_metadata(),
        };
        metadata.ok().map(|metadata| metadata.is_dir())
    }

    /// The paths of what is in a directory of the source. What can't be read is told when it is sent.
    fn names_in(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let names = Path::new(self.source).join(OsStr::from_bytes(path)).read_dir();
        let names = names.into_iter().flatten().flatten();
        names.map(|entry| joined(path, entry.file_name().as_bytes())).collect()
    }
}

fn joined(one: &[u8], other: &[u8]) -> Vec<u8> {
    match (one, other) {
        (b"", path) | (path, b"") => path.to_vec(),
        (one, other) => [one, b"/", other].concat(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lariat_wire::protocol::tree::Rule;

    use super::*;

    fn taken_in(files: &[&str], sources: &[&str], exclude: &[&str]) -> Vec<Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let sources: Vec<_> = sources
            .iter()
            .map(|source| format!("{}/{source}", directory.path().display()))
            .collect();
        let sources: Vec<&OsStr> = sources.iter().map(OsStr::new).collect();
        let rule = |glob: &&str| Rule { include: false, glob: (*glob).to_owned() };
        let rules: Vec<Rule> = exclude.iter().map(rule).collect();
        let taken = taken(&sources, &Filter::new(&rules, &[]).unwrap());
        let text = |path: &Vec<u8>| String::from_utf8(path.clone()).unwrap();
        taken.iter().map(|taken| taken.earlier.taken.iter().map(text).collect()).collect()
    }

    #[test]
    fn the_first_source_has_a_name() {
        let none: [&str; 0] = [];
        let files = ["a/x", "a/d/y", "b/x", "b/d/y", "b/d/z", "b/w", "c/x/in", "d", "e/a/x", "f/a"];
        let taken = |sources: &[&str]| taken_in(&files, sources, &[]);
        assert_eq!(taken(&["a/", "b/"]), [&none[..], &["d/y", "x"]]);
        assert_eq!(taken(&["b/", "a/"]), [&none[..], &["d/y", "x"]]);
        assert_eq!(taken(&["a", "b"]), [none, none]);
        // A directory where an earlier source has a file, and the other way round.
        assert_eq!(taken(&["a/", "c/"]), [&none[..], &["x"]]);
        assert_eq!(taken(&["c/", "a/"]), [&none[..], &["x"]]);
        // The source's own name counts.
        assert_eq!(taken(&["a", "e/"]), [&none[..], &["a/x"]]);
        assert_eq!(taken(&["f/", "a"]), [&none[..], &[""]]);
        assert_eq!(taken(&["d", "b/", "a/"]), [&none[..], &["d"], &["d", "x"]]);
        assert_eq!(taken(&["missing/", "a/"]), [none, none]);
    }

    #[test]
    fn what_an_earlier_source_does_not_send_is_not_taken() {
        let none: [&str; 0] = [];
        let taken = |exclude: &str| taken_in(&["e/a/x", "a/x"], &["a", "e/"], &[exclude]);
        assert_eq!(taken("/x"), [none, none]);
        assert_eq!(taken("/a"), [&none[..], &["a/x"]]);
    }

    #[test]
    fn it_is_told_with_a_name_and_a_number() {
        let told = |paths: &[&str]| {
            let taken = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
            let earlier = Earlier { taken, ..Earlier::default() };
            Taken { earlier, first: b"a/".to_vec() }.told(OsStr::new("b/"))
        };
        assert_eq!(told(&[]), None);
        insta::assert_snapshot!(told(&["x"]).unwrap(), @"b/: x is left out, for a/ comes first and has it too");
        insta::assert_snapshot!(told(&["x", "y"]).unwrap(), @"b/: x and one more name are left out, for a/ comes first and has them too");
        insta::assert_snapshot!(told(&["x", "y", "z"]).unwrap(), @"b/: x and 2 more names are left out, for a/ comes first and has them too");
        insta::assert_snapshot!(told(&[""]).unwrap(), @"b/: it is left out, for a/ comes first and has it too");
    }
}
