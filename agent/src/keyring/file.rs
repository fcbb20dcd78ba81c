//! The keyring's file: TOML, whose mistakes are reported with their line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lariat_base::name::KeyId;
use lariat_base::secret::Secret;
use lariat_base::toml_file::{self, BadContent, from_text, secret};
use lariat_wire::auth::proof::Verifier;
use lariat_wire::protocol::verb::{UnknownVerb, Verb, Verbs};
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::value::Datetime;

use super::{Entry, Keyring, is_local};

impl Keyring {
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
