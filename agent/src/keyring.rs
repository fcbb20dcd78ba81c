//! The keyring: which keys may log in to this host, with their verifiers and permissions.
//!
//! A verifier lets nobody log in, here or elsewhere. The file is secret all the same: together with the
//! certificate's key it lets its reader pose as this host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::escape::escape;
use lariat_base::name::KeyId;
use lariat_base::private;
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, BadContent, TomlFileError, from_text, secret};
use lariat_wire::auth::agent::Refused;
use lariat_wire::auth::keyring::{Candidate, Decoys};
use lariat_wire::auth::proof::Verifier;
use lariat_wire::protocol::verb::{UnknownVerb, Verb, Verbs};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::value::Datetime;

/// The keys that may log in.
#[derive(Default)]
pub struct Keyring(BTreeMap<KeyId, Arc<Entry>>);

/// One key, as this host knows it.
#[derive(Clone)]
pub struct Entry {
    /// The key's id on the wire.
    pub id: KeyId,
    /// The key's name for people.
    pub label: String,
    /// What the key may do.
    pub verbs: Verbs,
    /// The users that the key may act as; any user if there is no list.
    pub users: Option<Vec<String>>,
    /// The first moment at which the key may be used.
    pub not_before: Option<SystemTime>,
    /// The last moment at which the key may be used.
    pub not_after: Option<SystemTime>,
    /// The key's own limit on concurrent sessions, if any.
    pub max_sessions: Option<usize>,
    /// The key's own limit on concurrent jobs, if any.
    pub max_jobs: Option<usize>,
    verifier: Verifier,
}

impl Keyring {
    /// Loads a keyring from a private file.
    pub fn load(path: &Path) -> Result<Self, TomlFileError> {
        Ok(Self::parse(path, &private::read(path)?)?)
    }

    /// Parses a keyring; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadContent> {
        let file: File = toml_file::parse(path, text)?;
        let mut entries = BTreeMap::new();
        for entry in file.key {
            let start = entry.id.span().start;
            let entry = Entry::from(entry);
            let id = entry.id;
            let wrong = |why: String| BadContent::at(path, text, start, &why);
            if is_local(id) {
                return Err(wrong(format!("no key can have the id {id}")));
            }
            if entries.insert(id, Arc::new(entry)).is_some() {
                return Err(wrong(format!("a second entry has the id {id}")));
            }
        }
        Ok(Self(entries))
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

/// The first bytes of the ids that stand for users of this host.
const LOCAL: [u8; 12] = *b"local user\0\0";

/// Whether this id stands for a user of this host, rather than for a key of a keyring.
pub fn is_local(id: KeyId) -> bool {
    id.0.starts_with(&LOCAL)
}

impl Entry {
    /// The entry for a process on this host that runs as `uid`.
    pub fn local(uid: u32, verbs: Verbs) -> Self {
        let mut id = [0; 16];
        id[..LOCAL.len()].copy_from_slice(&LOCAL);
        id[LOCAL.len()..].copy_from_slice(&uid.to_be_bytes());
        Self {
            id: KeyId(id),
            label: format!("local:{uid}"),
            verbs,
            users: None,
            not_before: None,
            not_after: None,
            max_sessions: None,
            max_jobs: None,
            // No login is checked against it.
            verifier: Verifier { stored: Secret::new([0; 32]), agent: Secret::new([0; 32]) },
        }
    }

    /// Whether the key may act as this user.
    pub fn may_be(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.iter().any(|listed| listed == user))
    }

    /// Whether the key's dates include this moment.
    pub fn is_current(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| now <= end)
    }

    /// An entry with these verbs and no dates.
    #[cfg(test)]
    pub(crate) fn for_tests(grant: Verbs) -> Self {
        let secret = || Secret::generate().unwrap();
        let verifier = Verifier { stored: secret(), agent: secret() };
        let label = "alice@box".to_owned();
        Self {
            id: KeyId([1; 16]),
            label,
            verbs: grant,
            users: None,
            not_before: None,
            not_after: None,
            max_sessions: None,
            max_jobs: None,
            verifier,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<FileEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    id: Spanned<FileId>,
    label: String,
    #[serde(deserialize_with = "secret")]
    stored: Secret,
    #[serde(deserialize_with = "secret")]
    agent: Secret,
    #[serde(deserialize_with = "grant")]
    verbs: Verbs,
    #[serde(default)]
    users: Option<Vec<String>>,
    #[serde(default, deserialize_with = "date")]
    not_before: Option<SystemTime>,
    #[serde(default, deserialize_with = "date")]
    not_after: Option<SystemTime>,
    #[serde(default)]
    max_sessions: Option<usize>,
    #[serde(default)]
    max_jobs: Option<usize>,
}

#[derive(Deserialize)]
struct FileId(#[serde(deserialize_with = "from_text")] KeyId);

impl From<FileEntry> for Entry {
    fn from(file: FileEntry) -> Self {
        Self {
            id: file.id.into_inner().0,
            label: file.label,
            verbs: file.verbs,
            users: file.users,
            not_before: file.not_before,
            not_after: file.not_after,
            max_sessions: file.max_sessions,
            max_jobs: file.max_jobs,
            verifier: Verifier { stored: file.stored, agent: file.agent },
        }
    }
}

fn grant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verbs, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let verbs: Result<Verbs, UnknownVerb> = names.iter().map(|name| name.parse::<Verb>()).collect();
    verbs.map_err(serde::de::Error::custom)
}

/// A moment, as a TOML date-time or as a string. The UTC offset is required: a keyring may be written in one
/// time zone and read in another.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Toml(Datetime),
        Text(String),
    }
    let bad = || {
        let example = "not a date and time with its offset, such as 2027-01-31T12:00:00Z";
        serde::de::Error::custom(example)
    };
    let text = match Either::deserialize(deserializer).map_err(|_| bad())? {
        Either::Toml(date) => date.to_string(),
        Either::Text(text) => text,
    };
    let moment = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| bad())?;
    let seconds = u64::try_from(moment.unix_timestamp()).map_err(|_| bad())?;
    Ok(Some(UNIX_EPOCH + Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{EnrolmentId, HostName};
    use lariat_wire::auth::agent::Challenged;
    use lariat_wire::auth::controller::Proving;
    use lariat_wire::auth::proof::{HostKeys, key_id};

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
