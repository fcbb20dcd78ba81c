//! The names that the sources of one pull bring to one destination: of two sources with the same name, the first one has
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;

/// Most bytes of names that are remembered, since a host can send any number. Beyond, the last source has a name.
const MOST: usize = 64 * 1024 * 1024;

/// What a name costs besides its letters.
const EACH: usize = 64;

/// The names of a pull's sources. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    names: Arc<Mutex<Names>>,
    /// Where the present source's names are below the destination.
    below: Vec<u8>,
}

/// What an earlier source has brought where one brings something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Free,
    /// A directory, and another one comes: they are one, with the attributes of the first.
    Shared,
    /// A file, or a directory where a file comes.
    Taken,
}

/// Names, and whether they are directories.
type Kinds = HashMap<Box<[u8]>, bool>;

#[derive(Debug, Default)]
struct Names {
    earlier: Kinds,
    /// Those of the present source, which may bring them again after a cut.
    now: Kinds,
    bytes: usize,
}

impl Brought {
    /// Begins the next source, whose names are below `name` at the destination; its contents alone, if that is empty.
    #[must_use]
    pub fn next(&self, name: &[u8]) -> Self {
        let Names { earlier, now, .. } = &mut *lock(&self.names);
        earlier.extend(now.drain());
        Self { names: Arc::clone(&self.names), below: name.to_vec() }
    }

    /// Whether an earlier source has brought a file of this name, below the destination.
    pub fn has_file(&self, name: &[u8]) -> bool {
        lock(&self.names).earlier.get(name) == Some(&false)
    }

    /// Records a path of the present source, and returns what an earlier source has brought there.
    pub fn bring(&self, path: &[u8], is_directory: bool) -> Place {
        let whole = match (self.below.as_slice(), path) {
            (b"", path) | (path, b"") => path.to_vec(),
            (below, path) => [below, b"/", path].concat(),
        };
        let Names { earlier, now, bytes } = &mut *lock(&self.names);
        if let Some(was_directory) = earlier.get(whole.as_slice()) {
            return if is_directory && *was_directory { Place::Shared } else { Place::Taken };
        }
        if *bytes < MOST && !now.contains_key(whole.as_slice()) {
            *bytes += whole.len() + EACH;
            now.insert(whole.into(), is_directory);
        }
        Place::Free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_has_a_name_and_directories_are_shared() {
        let first = Brought::default().next(b"");
        // After a cut it comes again.
        for (path, is_directory) in [("d", true), ("d/x", false), ("d/x", false)] {
            assert_eq!(first.bring(path.as_bytes(), is_directory), Place::Free, "{path}");
        }
        let second = first.next(b"d");
        assert_eq!(second.bring(b"", true), Place::Shared);
        assert_eq!(second.bring(b"x", false), Place::Taken);
        assert_eq!(second.bring(b"y", false), Place::Free);
        let third = second.next(b"");
        assert_eq!(
            (third.bring(b"d/y", true), third.bring(b"d", false)),
            (Place::Taken, Place::Taken)
        );
        assert_eq!(
            (third.bring(b"e", true), third.bring(b"d/z", false)),
            (Place::Free, Place::Free)
        );
        assert!(third.has_file(b"d/x") && !third.has_file(b"d") && !third.has_file(b"d/z"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let brought = Brought::default().next(b"");
        let name = vec![b'x'; 4096];
        for number in 0..(MOST / name.len() + 100) {
            brought.bring(&[&name, number.to_string().as_bytes()].concat(), false);
        }
        assert!(lock(&brought.names).bytes < MOST + 2 * 4096);
    }
}
