//! The transfers that write to this host: the newest request of a key for a destination cancels an older one
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

/// Identifies a transfer.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// By its partial: the directory that holds it, and its name there.
    Partial(PlaceId, String),
    /// By the key that made the request and its destination. A worker's transfers are known by these: only
    /// the worker resolves its paths.
    Asked { key: KeyId, uid: u32, tree: bool, path: Vec<u8>, name: Vec<u8> },
}

/// The transfers that write to this host. Clones share their state.
#[derive(Clone, Default)]
pub struct Transfers(Arc<Mutex<HashMap<Key, Cancel>>>);

/// Registers a transfer, until it is dropped.
pub struct Running {
    transfers: Transfers,
    key: Key,
    /// Cancels the transfer.
    pub cancel: Cancel,
}

impl Transfers {
    /// Registers a transfer into a partial, and cancels an older one into the same partial.
    pub fn begin(&self, place: PlaceId, partial: String) -> Running {
        self.begin_as(Key::Partial(place, partial))
    }

    /// Registers the transfer that a worker does for this key as the user with this id. Returns `None` if the
    /// request writes nothing.
    pub fn begin_asked(&self, key: KeyId, uid: u32, request: &FileRequest) -> Option<Running> {
        let (dest, tree) = match request {
            FileRequest::Push(push) if push.dry_run => return None,
            FileRequest::Push(push) => (&push.dest, false),
            FileRequest::PushTree(push) if push.options.dry_run => return None,
            FileRequest::PushTree(push) => (&push.dest, true),
            FileRequest::Pull(_) | FileRequest::Clean(_) | FileRequest::Lane(_) => return None,
        };
        // Paths that differ only in slashes and dots are the same, wherever they lead.
        let path: PathBuf = Path::new(OsStr::from_bytes(&dest.path)).components().collect();
        let path = path.into_os_string().into_vec();
        let name = dest.name.clone();
        Some(self.begin_as(Key::Asked { key, uid, tree, path, name }))
    }

    /// Cancels all of them, because a newer request took over.
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
