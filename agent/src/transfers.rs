//! The transfers that are under way: the newest request of a key for a destination ends an older one
//! and takes over its partial.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lariat_base::lock::lock;
use lariat_base::name::KeyId;
use lariat_engine::Cancel;
use lariat_engine::destination::PlaceId;
use lariat_wire::protocol::failure::Cause;
use lariat_wire::protocol::request::FileRequest;

/// What a transfer is known by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Its partial: the directory that it is in, and its name there.
    Partial(PlaceId, String),
    /// Who asked for it, and where to. A worker's transfer is known by that: only the worker looks
    /// where its paths lead.
    Asked { key: KeyId, uid: u32, tree: bool, path: Vec<u8>, name: Vec<u8> },
}

/// The transfers that write to this host. Clones are the same.
#[derive(Clone, Default)]
pub struct Transfers(Arc<Mutex<HashMap<Key, Cancel>>>);

/// One of them, until it is dropped.
pub struct Running {
    transfers: Transfers,
    key: Key,
    /// Ends it.
    pub cancel: Cancel,
}

impl Transfers {
    /// Begins a transfer into a partial, and tells the one that has it to stop.
    pub fn begin(&self, place: PlaceId, partial: String) -> Running {
        self.begin_as(Key::Partial(place, partial))
    }

    /// Begins what a worker does for this key as the user with this number. `None` if it writes nothing.
    pub fn begin_asked(&self, key: KeyId, uid: u32, request: &FileRequest) -> Option<Running> {
        let (dest, tree) = match request {
            FileRequest::Push(push) => (&push.dest, false),
            FileRequest::PushTree(push) if push.options.dry_run => return None,
            FileRequest::PushTree(push) => (&push.dest, true),
            FileRequest::Pull(_) | FileRequest::Clean(_) => return None,
        };
        // What differs only by slashes and dots is the same, wherever it leads.
        let path: PathBuf = Path::new(OsStr::from_bytes(&dest.path)).components().collect();
        let path = path.into_os_string().into_vec();
        let name = dest.name.clone();
        Some(self.begin_as(Key::Asked { key, uid, tree, path, name }))
    }

    /// Ends all of them, because a newer request took over.
    pub fn supersede(&self) {
        let running = lock(&self.0);
        running.values().for_each(|cancel| cancel.cancel(Cause::Superseded));
    }

    fn begin_as(&self, key: Key) -> Running {
        let cancel = Cancel::default();
        let mut running = lock(&self.0);
        if let Some(older) = running.insert(key.clone(), cancel.clone()) {
            older.cancel(Cause::Superseded);
        }
        drop(running);
        Running { transfers: self.clone(), key, cancel }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = lock(&self.transfers.0);
        if running.get(&self.key).is_some_and(|newest| newest.is(&self.cancel)) {
            running.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ends_the_older_and_others_are_left_alone() {
        let transfers = Transfers::default();
        let begin = |name: &str| transfers.begin(PlaceId::default(), name.to_owned());
        let (first, other) = (begin("a"), begin("b"));
        let second = begin("a");
        assert_eq!(first.cancel.cause(), Some(Cause::Superseded));
        drop(first);
        let third = begin("a");
        assert_eq!(second.cancel.cause(), Some(Cause::Superseded));
        assert_eq!((other.cancel.cause(), third.cancel.cause()), (None, None));
        drop((second, third, other));
        assert!(transfers.0.lock().unwrap().is_empty());
    }
}
