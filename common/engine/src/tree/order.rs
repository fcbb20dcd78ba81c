//! The order of a manifest: directory by directory, depth first, names rising. Both ends keep it. No I/O.
//!
//! Because the order tells which directory an entry is in, a manifest can't name a directory that it did not
//! send; because names rise, it can't send one twice.

use std::sync::Arc;

use crate::confined::join;
use lariat_wire::limits::MAX_PATH;

/// A directory's path, relative to the root and shared by what is in it.
pub(super) type DirectoryPath = Arc<[u8]>;

/// Bytes that a directory whose turn comes later takes beside its name.
const LATER: usize = 64;

/// Where a manifest stands. `T` is what is remembered of a directory until its turn comes.
pub(super) struct Order<T> {
    /// The directory whose entries come now.
    present: Option<Present<T>>,
    /// Directories whose turn comes later, those of the present directory's parents included, next one last.
    later: Vec<Level<T>>,
    /// Entries so far, the root not counted.
    count: u64,
    /// Bytes of directories whose turn comes later, about.
    kept: usize,
}

/// A directory whose entries come now.
struct Present<T> {
    path: DirectoryPath,
    about: T,
    /// The name that came last in it.
    last: Vec<u8>,
    inside: Vec<(Box<[u8]>, T)>,
}

struct Level<T> {
    parent: DirectoryPath,
    directories: Vec<(Box<[u8]>, T)>,
}

/// Why an entry can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadOrder {
    /// Its name is not behind the last one's: it came twice, or in the wrong order.
    Name,
    /// No directory is left that it could be in.
    Directory,
}

impl<T> Order<T> {
    /// A manifest of which nothing has come.
    pub(super) fn new(about_root: T) -> Self {
        let present =
            Present { path: Arc::new([]), about: about_root, last: Vec::new(), inside: Vec::new() };
        Self { present: Some(present), later: Vec::new(), count: 0, kept: 0 }
    }

    /// The directory whose entries come now; none if all have come.
    pub(super) fn directory(&self) -> Option<(&DirectoryPath, &T)> {
        self.present.as_ref().map(|present| (&present.path, &present.about))
    }

    /// Bytes that are kept of directories whose turn comes later, about.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// The next entry of the present directory. Gives its number.
    pub(super) fn entry(&mut self, name: &[u8]) -> Result<u64, BadOrder> {
        let present = self.present.as_mut().ok_or(BadOrder::Directory)?;
        if name <= present.last.as_slice() {
            return Err(BadOrder::Name);
        }
        present.last.clear();
        present.last.extend_from_slice(name);
        self.count += 1;
        Ok(self.count)
    }

    /// The entry that came last is a directory, whose own entries come later.
    pub(super) fn descend(&mut self, about: T) {
        if let Some(present) = &mut self.present {
            self.kept += LATER + present.last.len();
            present.inside.push((present.last.as_slice().into(), about));
        }
    }

    /// The present directory has no more.
    pub(super) fn last(&mut self) -> Result<(), BadOrder> {
        let Present { path, mut inside, .. } = self.present.take().ok_or(BadOrder::Directory)?;
        if !inside.is_empty() {
            inside.reverse();
            self.later.push(Level { parent: path, directories: inside });
        }
        while let Some(level) = self.later.last_mut() {
            if let Some((name, about)) = level.directories.pop() {
                self.kept -= LATER + name.len();
                let path = join(&level.parent, &name).into();
                self.present = Some(Present { path, about, last: Vec::new(), inside: Vec::new() });
                break;
            }
            self.later.pop();
        }
        Ok(())
    }
}

/// Whether a path can be had at all: one that is longer the kernel does not take.
pub(super) fn fits(directory: &[u8], name: &[u8]) -> bool {
    directory.len() + 1 + name.len() < MAX_PATH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(order: &Order<u8>) -> Option<(&str, u8)> {
        order.directory().map(|(path, &about)| (str::from_utf8(path).unwrap(), about))
    }

    #[test]
    fn directories_come_depth_first() {
        let mut order = Order::new(0);
        for (name, about) in [("a", 1), ("b", 2)] {
            order.entry(name.as_bytes()).unwrap();
            order.descend(about);
        }
        assert_eq!(order.entry(b"c"), Ok(3));
        assert_eq!(path(&order), Some(("", 0)));
        order.last().unwrap();
        assert_eq!(path(&order), Some(("a", 1)));
        assert_eq!(order.entry(b"x"), Ok(4), "names begin anew");
        order.descend(3);
        order.last().unwrap();
        assert_eq!(path(&order), Some(("a/x", 3)));
        order.last().unwrap();
        assert_eq!(path(&order), Some(("b", 2)));
        order.last().unwrap();
        assert_eq!(path(&order), None);
        assert_eq!(order.entry(b"y"), Err(BadOrder::Directory));
        assert_eq!(order.last(), Err(BadOrder::Directory));
    }

    #[test]
    fn names_rise_so_none_comes_twice() {
        let mut order = Order::new(0);
        assert_eq!(order.entry(b"b"), Ok(1));
        for bad in ["b", "a", "B", ""] {
            assert_eq!(order.entry(bad.as_bytes()), Err(BadOrder::Name), "{bad}");
        }
        assert_eq!(order.entry(b"b\0"), Ok(2));
    }

    proptest! {
        #[test]
        fn every_directory_gets_its_turn_once(shape in prop::collection::vec(0_u8..4, 0..60)) {
            let mut order = Order::new(0);
            let (mut announced, mut seen) = (1, std::collections::HashSet::new());
            let mut shape = shape.into_iter();
            while let Some((path, _)) = order.directory() {
                prop_assert!(seen.insert(path.to_vec()));
                for child in 0..shape.next().unwrap_or(0) {
                    order.entry(&[b'a' + child]).unwrap();
                    order.descend(0);
                    announced += 1;
                }
                order.last().unwrap();
            }
            prop_assert_eq!(seen.len(), announced);
        }
    }
}
