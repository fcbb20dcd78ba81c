//! The controller's keys, one file each in `keys/`: what it proves itself with.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lariat_base::name::{KeyId, KeyLabel};
use lariat_base::near::nearest;
use lariat_base::os_error::io_error;
use lariat_base::secret::{NoRandomness, Secret};
use lariat_base::toml_file::{self, from_text, secret};
use lariat_wire::auth::proof::key_id;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::home::Home;

/// The ending of a key's file.
const ENDING: &str = ".key";

/// One key.
#[derive(Clone)]
pub(crate) struct ControllerKey {
    /// Its id on the wire.
    pub(crate) id: KeyId,
    /// Names it for people: `alice@adminbox`.
    pub(crate) label: KeyLabel,
    /// The key itself.
    pub(crate) secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(deserialize_with = "from_text")]
    id: KeyId,
    #[serde(deserialize_with = "from_text")]
    label: KeyLabel,
    #[serde(deserialize_with = "secret")]
    secret: Secret,
}

impl ControllerKey {
    /// A new key with a label that was typed.
    pub(crate) fn named(label: &KeyLabel) -> Result<Self, CliError> {
        if label.as_str().starts_with('-') {
            let message =
                format!("a label that begins with '-', as {label}, would pass for an option");
            return Err(CliError::new(message).next("choose another one"));
        }
        Ok(Self::generate(label.clone())?)
    }

    /// A new key.
    pub(crate) fn generate(label: KeyLabel) -> Result<Self, NoRandomness> {
        let secret = Secret::generate()?;
        Ok(Self { id: key_id(&secret), label, secret })
    }

    /// The key of this label, or else `USER@HOSTNAME`'s, or the only one.
    pub(crate) fn load(home: &Home, label: Option<&KeyLabel>) -> Result<Self, CliError> {
        let directory = home.keys_directory();
        let labels = labels(home)?;
        let label = match (label, labels.as_slice()) {
            (Some(label), labels) if !labels.contains(label) => {
                let there = labels.iter().map(KeyLabel::as_str).collect::<Vec<_>>().join(", ");
                let message = format!("no key {label} in {} ({there})", directory.display());
                let error = CliError::new(message);
                let meant = nearest(label.as_str(), labels.iter().map(KeyLabel::as_str));
                return Err(match meant {
                    Some(meant) => error.next(format!("did you mean {meant}?")),
                    None => error.hint(format!("lariat key new {label}")),
                });
            }
            (Some(label), _) | (None, [label]) => label,
            (None, []) => {
                return Err(CliError::new(format!("no key in {}", directory.display()))
                    .hint("put a copy of your LABEL.key back there"));
            }
            // Only now, for it takes the user's name from the system.
            (None, [first, ..]) => {
                let own = default_label();
                let found = labels.iter().find(|label| **label == own);
                found.ok_or_else(|| {
                    let message =
                        format!("several keys in {}, none of them {own}", directory.display());
                    CliError::new(message).hint(format!("--key {first}, or LARIAT_KEY={first}"))
                })?
            }
        };
        Self::load_file(&file(home, label))
    }

    /// Loads a key from its file.
    pub(crate) fn load_file(path: &Path) -> Result<Self, CliError> {
        let KeyFile { id, label, secret } = toml_file::load(path)?;
        Self { id, label, secret }.checked(path)
    }

    /// Refuses a key that is not the one of its id.
    pub(crate) fn checked(self, path: &Path) -> Result<Self, CliError> {
        if key_id(&self.secret) == self.id {
            return Ok(self);
        }
        let message = format!("{}: its id is not that of its secret", path.display());
        Err(CliError::new(message).hint("restore it from a copy"))
    }

    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}{ENDING}", self.label)
    }

    /// Its file's content.
    pub(crate) fn to_toml(&self) -> Zeroizing<String> {
        let secret = self.secret.to_hex();
        // Allocated once, because growing a String would leave copies of the secret in memory.
        let mut text = Zeroizing::new(String::with_capacity(1024));
        write!(
            text,
            "# A lariat key. Whoever has its secret can do on every host what this key may do.\n\
             id = \"{}\"\nlabel = \"{}\"\nsecret = \"{}\"\n",
            self.id,
            self.label,
            secret.as_str()
        )
        .expect("a String takes what is written to it");
        text
    }
}

/// The file of the key of this label.
pub(crate) fn file(home: &Home, label: &KeyLabel) -> PathBuf {
    home.keys_directory().join(format!("{label}{ENDING}"))
}

/// The labels of all keys, as their files are named, in order.
pub(crate) fn labels(home: &Home) -> Result<Vec<KeyLabel>, CliError> {
    let directory = home.keys_directory();
    let failed = |e: std::io::Error| {
        CliError::new(format!("read {}: {}", directory.display(), io_error(&e)))
    };
    let mut labels = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let label = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.parse().ok());
        labels.extend(label);
    }
    labels.sort();
    Ok(labels)
}

/// `USER@HOSTNAME`.
pub(crate) fn default_label() -> KeyLabel {
    let user = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(user).ok().flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| format!("uid{user}"));
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let safe = |text: &str| -> String {
        let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let text: String = text.chars().map(|c| if keep(c) { c } else { '-' }).collect();
        text.trim_start_matches('.').chars().take(KeyLabel::MAX / 2).collect()
    };
    let mut label = format!("{}@{}", safe(&name), safe(&host));
    label.truncate(KeyLabel::MAX);
    label.parse().expect("it has at most 64 of the characters that a label has, and one at least")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_to_its_file_and_back_and_a_damaged_one_is_noticed() {
        let key = ControllerKey::generate(default_label()).unwrap();
        assert!(key.label.as_str().contains('@'));
        let text = key.to_toml();
        assert!(text.capacity() == 1024 && text.len() < 1024);
        let file: KeyFile = toml_file::parse(Path::new("k"), &text).unwrap();
        assert!(file.secret.matches(key.secret.expose()));
        assert_eq!((file.id, &file.label), (key.id, &key.label));
        let other = ControllerKey { secret: Secret::generate().unwrap(), ..key };
        assert!(other.checked(Path::new("k")).is_err());
    }

    #[test]
    fn the_key_is_the_one_that_is_named_or_ones_own_or_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(directory.path())).unwrap();
        lariat_base::private::create_directory(&home.keys_directory()).unwrap();
        let make = |label: &KeyLabel| {
            let key = ControllerKey::generate(label.clone()).unwrap();
            let path = home.keys_directory().join(key.file_name());
            lariat_base::private::create(&path, key.to_toml().as_bytes()).unwrap();
        };
        let load = |label: Option<&KeyLabel>| {
            ControllerKey::load(&home, label).map(|key| key.label).map_err(|error| error.line())
        };
        let [ci, night]: [KeyLabel; 2] = ["ci", "night"].map(|label| label.parse().unwrap());
        assert!(load(None).unwrap_err().contains("no key in"));
        make(&ci);
        assert_eq!(load(None), Ok(ci.clone()));
        make(&night);
        assert!(load(None).unwrap_err().ends_with("; try: --key ci, or LARIAT_KEY=ci"));
        assert_eq!(load(Some(&night)), Ok(night));
        assert!(load(Some(&"other".parse().unwrap())).unwrap_err().contains("(ci, night)"));
        make(&default_label());
        assert_eq!(load(None), Ok(default_label()));
    }
}
