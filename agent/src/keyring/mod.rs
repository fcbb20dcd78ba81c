//! The keyring: which keys may log in to this host, with their verifiers and permissions.
//!
//! A verifier lets nobody log in, here or elsewhere. The file is secret all the same: together with the
//! certificate's key it lets its reader pose as this host.

mod entry;
mod file;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use lariat_base::escape::escape;
use lariat_base::name::KeyId;
use lariat_base::private;
use lariat_base::toml_file::TomlFileError;
use lariat_wire::auth::agent::Refused;
use lariat_wire::auth::keyring::{Candidate, Decoys};

pub use entry::{Entry, is_local};

/// The keys that may log in.
#[derive(Default)]
pub struct Keyring(BTreeMap<KeyId, Arc<Entry>>);

impl Keyring {
    /// Loads a keyring from a private file.
    pub fn load(path: &Path) -> Result<Self, TomlFileError> {
        Ok(Self::parse(path, &private::read(path)?)?)
    }

    /// What a login that names `id` is checked against. An unknown id takes the same path with a decoy; the
    /// decoy is made either way, so that the time is the same.
    pub fn candidate(&self, decoys: &Decoys, id: KeyId, now: SystemTime) -> Candidate {
        let decoy = decoys.candidate(id);
        match self.0.get(&id) {
            Some(entry) => {
                Candidate { verifier: entry.verifier.clone(), allowed: entry.is_current(now) }
            }
            None => decoy,
        }
    }

    /// Why a login was denied. For the log only.
    pub fn why_denied(&self, refused: Refused, now: SystemTime) -> String {
        let (Refused::Key(id) | Refused::Now(id)) = refused else { return refused.to_string() };
        let Some(entry) = self.0.get(&id) else {
            return format!("key {id}: it is not in the keyring");
        };
        let why = match refused {
            Refused::Now(_) if entry.not_before.is_some_and(|start| now < start) => {
                "it may not be used yet"
            }
            Refused::Now(_) => "its time is over",
            _ => {
                "its proof is wrong: the host was enrolled anew since the controller was told of it, \
                 or somebody else claims this key"
            }
        };
        format!("key {id} ({}): {why}", escape(entry.label.as_bytes()))
    }

    /// The entry of a key, or `None` if the keyring does not have it.
    pub fn entry(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.0.get(&id)
    }

    /// Every key, in order of id.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lariat_base::name::{EnrolmentId, HostName};
    use lariat_base::secret::Secret;
    use lariat_wire::auth::agent::Challenged;
    use lariat_wire::auth::controller::Proving;
    use lariat_wire::auth::proof::{HostKeys, key_id};
    use lariat_wire::protocol::verb::Verb;

    use super::*;

    fn parse(text: &str) -> Result<Keyring, String> {
        Keyring::parse(Path::new("keyring.toml"), text).map_err(|error| error.to_string())
    }

    /// An entry as enrollment writes it for a new key.
    fn entry(key: &Secret, host: &HostName, enrolment: &EnrolmentId, more: &str) -> String {
        let verifier = HostKeys::derive(key, host, enrolment).verifier();
        format!(
            "[[key]]\nid = \"{}\"\nlabel = \"alice@box\"\nstored = \"{}\"\nagent = \"{}\"\n\
             verbs = [\"run\", \"push\"]\n{more}",
            key_id(key),
            *verifier.stored.to_hex(),
            *verifier.agent.to_hex()
        )
    }

    fn world() -> (Secret, HostName, EnrolmentId) {
        (Secret::generate().unwrap(), "web1".parse().unwrap(), EnrolmentId([7; 16]))
    }

    #[test]
    fn a_key_of_the_keyring_logs_in_within_its_dates_and_another_does_not() {
        let (key, host, enrolment) = world();
        let dates =
            "not_before = 2026-01-01T00:00:00+01:00\nnot_after = \"2026-12-31T00:00:00Z\"\n";
        let keyring = parse(&entry(&key, &host, &enrolment, dates)).unwrap();
        let decoys = Decoys::new().unwrap();
        let login = |key: &Secret, now: u64| {
            let now = UNIX_EPOCH + Duration::from_secs(now);
            let challenged = Challenged::new(&host).unwrap();
            let (_, login) =
                Proving::answer(key, &host, &enrolment, &[5; 32], challenged.payload()).unwrap();
            let find = |id| keyring.candidate(&decoys, id, now);
            challenged.login(&[5; 32], &login, find).map(|logged_in| logged_in.key_id)
        };
        let (start, end) = (1_767_222_000, 1_798_675_200);
        assert_eq!(login(&key, start), Ok(key_id(&key)));
        assert_eq!(login(&key, end), Ok(key_id(&key)));
        assert_eq!(login(&key, start - 1), Err(Refused::Now(key_id(&key))));
        assert_eq!(login(&key, end + 1), Err(Refused::Now(key_id(&key))));
        let unauthenticated = Secret::generate().unwrap();
        assert_eq!(login(&unauthenticated, start), Err(Refused::Key(key_id(&unauthenticated))));
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let why = |key: &Secret, now| keyring.why_denied(Refused::Now(key_id(key)), at(now));
        assert_eq!(
            why(&key, start - 1),
            format!("key {} (alice@box): it may not be used yet", key_id(&key))
        );
        assert!(why(&key, end + 1).ends_with("(alice@box): its time is over"));
        let why = |key: &Secret| keyring.why_denied(Refused::Key(key_id(key)), at(start));
        assert!(why(&key).contains("(alice@box): its proof is wrong"), "{}", why(&key));
        assert_eq!(
            why(&unauthenticated),
            format!("key {}: it is not in the keyring", key_id(&unauthenticated))
        );
        let found = keyring.entry(key_id(&key)).unwrap();
        assert_eq!((found.label.as_str(), found.verbs.contains(Verb::Pull)), ("alice@box", false));
    }

    #[test]
    fn mistakes_are_told_with_line_and_key_and_without_secrets() {
        let (key, host, enrolment) = world();
        let good = entry(&key, &host, &enrolment, "");
        assert_eq!(parse("").unwrap().entries().count(), 0);
        let error = |text: &str| parse(text).err().unwrap();
        let twice = error(&format!("{good}{good}"));
        assert_eq!(twice, format!("keyring.toml:8: a second entry has the id {}", key_id(&key)));
        let unknown = error(&format!("{good}networks = []\n"));
        assert!(unknown.starts_with("keyring.toml:7: unknown field `networks`"), "{unknown}");
        let verb = error(&good.replace("push", "sudo"));
        assert!(verb.starts_with("keyring.toml:6: \"sudo\" is no verb"), "{verb}");
        for bad in ["2026-01-01", "2026-01-01T00:00:00", "\"soon\"", "1", "1900-01-01T00:00:00Z"] {
            let date = error(&format!("{good}not_after = {bad}\n"));
            assert!(date.starts_with("keyring.toml:7: not a date and time"), "{bad}: {date}");
        }
        let stored = good.lines().find(|line| line.starts_with("stored")).unwrap();
        let digits = &stored[10..40];
        let short = error(&good.replace(stored, &format!("stored = \"{digits}\"")));
        assert!(short.starts_with("keyring.toml:4: ") && !short.contains(digits), "{short}");
    }
}
