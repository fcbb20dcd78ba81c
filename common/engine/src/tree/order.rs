//! The order of a manifest: directory by directory, depth first, with names in rising order. Both ends follow it.
//! No I/O.
//!
//! The order determines the directory of an entry, so a manifest can't name a directory that it did not send.
//! Names rise, so it can't send one twice.

use std::sync::Arc;

use crate::confined::join;
use lariat_wire::limits::MAX_PATH;

/// A directory's path relative to the root, shared by its entries.
pub(super) type DirectoryPath = Arc<[u8]>;

/// Bytes that a pending directory takes beside its name.
const LATER: usize = 64;

/// The position in a manifest. `T` is what is kept for a directory until its turn.
pub(super) struct Order<T> {
    /// The directory whose entries come now.
    current: Option<Current<T>>,
    /// Pending directories at the levels above, the next one last.
    pending: Vec<Level<T>>,
    /// The number of entries so far, without the root.
    count: u64,
    /// An estimate of the bytes that pending directories take.
    kept: usize,
}

/// A directory whose entries come now.
struct Current<T> {
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

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadOrder {
    /// Its name does not follow the last one: it came twice, or in the wrong order.
    Name,
    /// No directory is left.
    Directory,
}

impl<T> Order<T> {
    /// The beginning of a manifest.
    pub(super) fn new(about_root: T) -> Self {
        let current =
            Current { path: Arc::new([]), about: about_root, last: Vec::new(), inside: Vec::new() };
        Self { current: Some(current), pending: Vec::new(), count: 0, kept: 0 }
    }

    /// The directory whose entries come now, or `None` at the end.
    pub(super) fn directory(&self) -> Option<(&DirectoryPath, &T)> {
        self.current.as_ref().map(|current| (&current.path, &current.about))
    }

    /// An estimate of the bytes that pending directories take.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Adds the next entry of the current directory, and returns its number.
    pub(super) fn entry(&mut self, name: &[u8]) -> Result<u64, BadOrder> {
        let current = self.current.as_mut().ok_or(BadOrder::Directory)?;
        if name <= current.last.as_slice() {
            return Err(BadOrder::Name);
        }
        current.last.clear();
        current.last.extend_from_slice(name);
        self.count += 1;
        Ok(self.count)
    }

    /// The last entry is a directory, whose entries come later.
    pub(super) fn descend(&mut self, about: T) {
        if let Some(current) = &mut self.current {
            self.kept += LATER + current.last.len();
            current.inside.push((current.last.as_slice().into(), about));
        }
    }

    /// Ends the current directory.
    pub(super) fn last(&mut self) -> Result<(), BadOrder> {
        let Current { path, mut inside, .. } = self.current.take().ok_or(BadOrder::Directory)?;
        if !inside.is_empty() {
            inside.reverse();
            self.pending.push(Level { parent: path, directories: inside });
        }
        while let Some(level) = self.pending.last_mut() {
            if let Some((name, about)) = level.directories.pop() {
                self.kept -= LATER + name.len();
                let path = join(&level.parent, &name).into();
                self.current = Some(Current { path, about, last: Vec::new(), inside: Vec::new() });
                break;
            }
            self.pending.pop();
        }
        Ok(())
    }
}

/// Whether the kernel accepts a path of this length.
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
