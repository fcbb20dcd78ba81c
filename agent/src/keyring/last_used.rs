//! `STATE/last-used`: when each key last logged in here. What it says is an hour old at most, so that a login hardly
//! ever writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use lariat_base::lock::lock;
use lariat_base::name::KeyId;
use lariat_base::private::{self, PrivateError};

/// The file's name.
const FILE: &str = "last-used";

/// How old the file may become, in seconds.
const STALE: u64 = 3600;

/// When each key last logged in, in seconds since 1970.
pub struct LastUsed {
    path: PathBuf,
    keys: Mutex<BTreeMap<KeyId, Used>>,
    /// Held while the file is written, so that an older state never replaces a newer one. A login never waits for it.
    writing: Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Used {
    at: u64,
    /// What the file says.
    written: u64,
}

impl LastUsed {
    /// Loads the file in an agent's state directory. What can't be read is forgotten: it is told to people and allows
    /// nothing.
    pub fn load(state: &Path) -> Self {
        let path = state.join(FILE);
        let text = private::read(&path).unwrap_or_default();
        let keys = text.lines().filter_map(|line| {
            let (id, at) = line.split_once(' ')?;
            let at = at.parse().ok()?;
            Some((id.parse().ok()?, Used { at, written: at }))
        });
        Self { keys: Mutex::new(keys.collect()), path, writing: Mutex::default() }
    }

    /// When the key of this id last logged in, if it ever did.
    pub fn get(&self, id: KeyId) -> Option<u64> {
        self.lock().get(&id).map(|used| used.at)
    }

    /// A key has logged in. Returns whether the file is to be written.
    pub fn logged_in(&self, id: KeyId, now: u64) -> bool {
        let mut keys = self.lock();
        let used = keys.entry(id).or_default();
        used.at = used.at.max(now);
        used.at.saturating_sub(used.written) >= STALE
    }

    /// Replaces the file, without the keys that are not to be kept.
    pub fn save(&self, is_kept: impl Fn(KeyId) -> bool) -> Result<(), PrivateError> {
        let _writing = lock(&self.writing);
        let lines: Vec<_> = {
            let mut keys = self.lock();
            keys.retain(|&id, _| is_kept(id));
            keys.values_mut().for_each(|used| used.written = used.at);
            keys.iter().map(|(id, used)| format!("{id} {}\n", used.at)).collect()
        };
        private::replace(&self.path, lines.concat().as_bytes())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyId, Used>> {
        lock(&self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_once_an_hour_and_read_at_the_next_start() {
        let directory = crate::private_directory();
        let [one, two] = [1, 2].map(|byte| KeyId([byte; 16]));
        let used = LastUsed::load(directory.path());
        assert_eq!(used.get(one), None);
        assert!(used.logged_in(one, 10_000) && used.logged_in(two, 10_000));
        used.save(|id| id == one).unwrap();
        assert!(!used.logged_in(one, 13_599) && used.logged_in(one, 13_600));
        assert_eq!((used.get(one), used.get(two)), (Some(13_600), None));
        let again = LastUsed::load(directory.path());
        assert_eq!((again.get(one), again.get(two)), (Some(10_000), None));
    }
}
