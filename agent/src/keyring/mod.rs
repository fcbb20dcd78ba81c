//! The keyring: which keys may log in to this host, with their verifiers and permissions.
//!
//! A verifier lets nobody log in, here or elsewhere. The file is secret all the same: together with the
//! certificate's key it lets its reader pose as this host.

mod audited;
mod change;
mod edit;
mod entry;
mod file;
mod here;
mod last_used;
mod lint;
mod revoked;
mod store;

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
use lariat_wire::protocol::key::KeyProblem;

pub use audited::{AuditedKey, AuditedKeys, KeyChange};
pub use change::Asker;
pub use entry::{Entry, Lined, List, is_local};
pub use here::Host;
pub use last_used::LastUsed;
pub use lint::{Finding, lint};
pub use revoked::Revoked;
pub use store::{Counts, Loaded, Store};

/// The keys that may log in.
#[derive(Clone, Default)]
pub struct Keyring {
    /// In the order of the file.
    entries: Vec<Arc<Entry>>,
    /// By every id that may log in.
    logins: BTreeMap<KeyId, Arc<Entry>>,
    /// By the id under which what a key keeps here is known.
    owners: BTreeMap<KeyId, Arc<Entry>>,
}

impl Keyring {
    fn new(entries: Vec<Arc<Entry>>) -> Self {
        let mut logins = BTreeMap::new();
        for entry in &entries {
            let pending = entry.pending.iter().map(|pending| pending.id);
            logins.extend(pending.chain([entry.id]).map(|id| (id, Arc::clone(entry))));
        }
        let owners = entries.iter().map(|entry| (entry.owner, Arc::clone(entry))).collect();
        Self { entries, logins, owners }
    }

    /// The keyring without the entries that `revoked` names.
    #[must_use]
    pub fn without(&self, revoked: &Revoked) -> Self {
        self.only(|entry| !revoked.names(entry))
    }

    /// The keyring of the entries that `stays` accepts.
    fn only(&self, stays: impl Fn(&Entry) -> bool) -> Self {
        Self::new(self.entries.iter().filter(|entry| stays(entry)).cloned().collect())
    }

    /// Loads a keyring from a private file.
    pub fn load(path: &Path) -> Result<Self, TomlFileError> {
        Ok(Self::parse(path, &private::read(path)?)?)
    }

    /// What a login that names `id` is checked against; `admits` tells whether a key may log in. An unknown id
    /// takes the same path with a decoy; the decoy is made either way, so that the time is the same.
    pub fn candidate(
        &self,
        decoys: &Decoys,
        id: KeyId,
        now: SystemTime,
        admits: impl Fn(&Entry) -> bool,
    ) -> Candidate {
        let decoy = decoys.candidate(id);
        match self.logins.get(&id) {
            Some(entry) => {
                let (verifier, may_log_in) = entry.verifier(id, now);
                Candidate { verifier: verifier.clone(), allowed: may_log_in && admits(entry) }
            }
            None => decoy,
        }
    }

    /// Why a login was denied, for the log only; `objection` tells why a key may not log in.
    pub fn why_denied(&self, refused: Refused, objection: impl Fn(&Entry) -> String) -> String {
        let (Refused::Key(id) | Refused::Now(id)) = refused else { return refused.to_string() };
        let Some(entry) = self.logins.get(&id) else {
            return format!("key {id}: it is not in the keyring");
        };
        let why = match refused {
            Refused::Now(_) => objection(entry),
            _ => "its proof is wrong: the host was enrolled anew since the controller was told of it, \
                  or somebody else claims this key"
                .to_owned(),
        };
        format!("key {id} ({}): {why}", escape(entry.label.as_bytes()))
    }

    /// The entry for which a key of this id may log in.
    pub fn entry(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.logins.get(&id)
    }

    /// The entry whose key had this id before.
    pub fn replaced(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.id != id && entry.is_known_as(id))
    }

    /// The entry to which what is kept under this id belongs.
    pub fn of_owner(&self, owner: KeyId) -> Option<&Arc<Entry>> {
        self.owners.get(&owner)
    }

    /// The one entry that a person who says `name` means.
    pub fn named(&self, name: &str) -> Result<&Arc<Entry>, KeyProblem> {
        let mut all = self.entries().filter(|entry| entry.is_named(name));
        match (all.next(), all.next()) {
            (Some(entry), None) => Ok(entry),
            (None, _) => Err(KeyProblem::NoSuchKey),
            (Some(_), Some(_)) => Err(KeyProblem::Ambiguous),
        }
    }

    /// Every key, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter()
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
    use crate::policy::Clock;

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
        let at = |seconds| Clock::new(UNIX_EPOCH + Duration::from_secs(seconds), UNIX_EPOCH);
        let login = |key: &Secret, now: u64| {
            let clock = at(now);
            let challenged = Challenged::new(&host).unwrap();
            let (_, login) =
                Proving::answer(key, &host, &enrolment, &[5; 32], challenged.payload()).unwrap();
            let find =
                |id| keyring.candidate(&decoys, id, clock.now, |entry| entry.is_current(clock));
            challenged.login(&[5; 32], &login, find).map(|logged_in| logged_in.key_id)
        };
        let (start, end) = (1_767_222_000, 1_798_675_200);
        assert_eq!(login(&key, start), Ok(key_id(&key)));
        assert_eq!(login(&key, end), Ok(key_id(&key)));
        assert_eq!(login(&key, start - 1), Err(Refused::Now(key_id(&key))));
        assert_eq!(login(&key, end + 1), Err(Refused::Now(key_id(&key))));
        let unauthenticated = Secret::generate().unwrap();
        assert_eq!(login(&unauthenticated, start), Err(Refused::Key(key_id(&unauthenticated))));
        let objection = |_: &Entry| "its time is over".to_owned();
        let why = |refused| keyring.why_denied(refused, objection);
        assert_eq!(
            why(Refused::Now(key_id(&key))),
            format!("key {} (alice@box): its time is over", key_id(&key))
        );
        let wrong = why(Refused::Key(key_id(&key)));
        assert!(wrong.contains("(alice@box): its proof is wrong"), "{wrong}");
        assert_eq!(
            why(Refused::Key(key_id(&unauthenticated))),
            format!("key {}: it is not in the keyring", key_id(&unauthenticated))
        );
        let found = keyring.entry(key_id(&key)).unwrap();
        assert_eq!((found.label.as_str(), found.verbs.contains(Verb::Pull)), ("alice@box", false));
    }

    #[test]
    fn a_key_that_waits_to_take_an_entry_over_waits_for_a_day() {
        let (key, host, enrolment) = world();
        let next = Secret::generate().unwrap();
        let verifier = HostKeys::derive(&next, &host, &enrolment).verifier();
        let pending = format!(
            "pending = {{ id = \"{}\", stored = \"{}\", agent = \"{}\", since = 2026-01-01T00:00:00Z }}\n",
            key_id(&next),
            *verifier.stored.to_hex(),
            *verifier.agent.to_hex()
        );
        let keyring = parse(&entry(&key, &host, &enrolment, &pending)).unwrap();
        let (decoys, began) = (Decoys::new().unwrap(), 1_767_225_600);
        let may_log_in = |key, seconds| {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            keyring.candidate(&decoys, key_id(key), now, |_| true).allowed
        };
        let day = 24 * 3600;
        assert!(may_log_in(&next, began) && may_log_in(&next, began + day - 1));
        assert!(!may_log_in(&next, began + day) && !may_log_in(&next, began - 1));
        assert!(may_log_in(&key, began + day), "the old one goes on");
    }

    #[test]
    fn mistakes_are_told_with_line_and_key_and_without_secrets() {
        let (key, host, enrolment) = world();
        let good = entry(&key, &host, &enrolment, "");
        assert_eq!(parse("").unwrap().entries().count(), 0);
        let error = |text: &str| parse(text).err().unwrap();
        let twice = error(&format!("{good}{good}"));
        assert_eq!(twice, format!("keyring.toml:8: a second entry has the id {}", key_id(&key)));
        let unknown = error(&format!("{good}colour = []\n"));
        assert!(unknown.starts_with("keyring.toml:7: unknown key colour"), "{unknown}");
        let verb = error(&good.replace("push", "sudo"));
        assert!(verb.starts_with("keyring.toml:6: \"sudo\" is no verb"), "{verb}");
        for bad in ["2026-01-01T00:00:00", "\"soon\"", "1", "1900-01-01T00:00:00Z"] {
            let date = error(&format!("{good}not_after = {bad}\n"));
            assert!(date.starts_with("keyring.toml:7: not a day such as"), "{bad}: {date}");
        }
        let stored = good.lines().find(|line| line.starts_with("stored")).unwrap();
        let digits = &stored[10..40];
        let short = error(&good.replace(stored, &format!("stored = \"{digits}\"")));
        assert!(short.starts_with("keyring.toml:4: ") && !short.contains(digits), "{short}");
    }
}
