//! `STATE/revoked`: the ids of keys that were revoked here. An entry of the keyring that has one is of no effect, so
//! that an older copy of the file does not bring a key back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lariat_base::name::KeyId;
use lariat_base::private::{self, PrivateError};
use lariat_base::spare;
use lariat_base::toml_file::{BadContent, TomlFileError};

use super::Entry;

/// The file's name.
const FILE: &str = "revoked";

/// Has room for the file when the disk is full.
const SPARE: &str = "revoked.spare";

/// Stands behind an id whose jobs go on.
const KEEP_JOBS: &str = "keep-jobs";

/// The ids that were revoked, each with whether its jobs go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked(BTreeMap<KeyId, bool>);

impl Revoked {
    /// Loads the file in an agent's state directory; without one nothing was revoked.
    pub fn load(state: &Path) -> Result<Self, TomlFileError> {
        let path = state.join(FILE);
        match private::read(&path) {
            Ok(text) => Ok(Self::parse(&path, &text)?),
            Err(error) if error.is_not_there() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, BadContent> {
        let mut ids = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(id) = words.next() else { continue };
            let bad = || BadContent {
                path: PathBuf::from(path),
                line: number + 1,
                message: format!("not a key's id, alone or with {KEEP_JOBS} behind it"),
            };
            let keeps = match (words.next(), words.next()) {
                (None, _) => false,
                (Some(KEEP_JOBS), None) => true,
                _ => return Err(bad()),
            };
            ids.insert(id.parse().map_err(|_| bad())?, keeps);
        }
        Ok(Self(ids))
    }

    /// Sets room aside for the file.
    pub(super) fn set_aside(state: &Path) {
        spare::set_aside(&state.join(SPARE));
    }

    /// Replaces the file, on a full disk too.
    pub fn save(&self, state: &Path) -> Result<(), PrivateError> {
        let line = |(id, keeps): (&KeyId, &bool)| {
            if *keeps { format!("{id} {KEEP_JOBS}\n") } else { format!("{id}\n") }
        };
        let text: String = self.0.iter().map(line).collect();
        spare::replace(&state.join(FILE), text.as_bytes(), &state.join(SPARE))
    }

    /// Whether this id was revoked.
    pub fn contains(&self, id: KeyId) -> bool {
        self.0.contains_key(&id)
    }

    /// Whether any id of this entry was revoked.
    pub fn names(&self, entry: &Entry) -> bool {
        entry.ids().any(|id| self.contains(id))
    }

    /// Whether the jobs of this key go on although it was revoked.
    pub fn keeps_jobs(&self, id: KeyId) -> bool {
        self.0.get(&id) == Some(&true)
    }

    /// Revokes an id.
    pub fn insert(&mut self, id: KeyId, keep_jobs: bool) {
        self.0.insert(id, keep_jobs);
    }

    /// Takes a revocation back.
    pub fn remove(&mut self, id: KeyId) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_revoked_is_there_after_a_restart_and_a_mistake_is_told() {
        let directory = crate::private_directory();
        let [one, two] = [1, 2].map(|byte| KeyId([byte; 16]));
        let mut revoked = Revoked::load(directory.path()).unwrap();
        assert_eq!(revoked, Revoked::default());
        revoked.insert(one, false);
        revoked.insert(two, true);
        revoked.save(directory.path()).unwrap();
        let mut again = Revoked::load(directory.path()).unwrap();
        assert_eq!(again, revoked);
        assert!(again.contains(one) && !again.keeps_jobs(one) && again.keeps_jobs(two));
        again.remove(one);
        again.save(directory.path()).unwrap();
        assert!(!Revoked::load(directory.path()).unwrap().contains(one));
        for bad in ["xy", &format!("{one} other"), &format!("{one} keep-jobs more")] {
            let text = format!("\n{two}\n{bad}\n");
            let error = Revoked::parse(Path::new("revoked"), &text).unwrap_err().to_string();
            assert!(error.starts_with("revoked:3: not a key's id"), "{error}");
        }
    }
}
