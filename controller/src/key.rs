//! The controller's keys: what it proves itself with.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use lariat_base::name::KeyId;
use lariat_base::os_error::io_error;
use lariat_base::secret::{NoRandomness, Secret};
use lariat_base::toml_file::{self, from_text, secret};
use lariat_wire::auth::proof::key_id;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::home::Home;

/// One key.
pub(crate) struct ControllerKey {
    /// Names it on the wire.
    pub(crate) id: KeyId,
    /// Names it for people: `alice@adminbox`.
    pub(crate) label: String,
    /// The key itself.
    pub(crate) secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(deserialize_with = "from_text")]
    id: KeyId,
    label: String,
    #[serde(deserialize_with = "secret")]
    secret: Secret,
}

impl ControllerKey {
    /// A new key, labelled `USER@HOSTNAME`.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let secret = Secret::generate()?;
        Ok(Self { id: key_id(&secret), label: default_label(), secret })
    }

    /// The key that this controller logs in with. For now there must be one only.
    pub(crate) fn load(home: &Home) -> Result<Self, CliError> {
        let directory = home.keys_directory();
        let files = key_files(&directory).map_err(|e| {
            CliError::new(format!("read {}: {}", directory.display(), io_error(&e)))
        })?;
        match files.as_slice() {
            [file] => Self::load_file(file),
            [] => Err(CliError::new(format!("no key in {}", directory.display()))
                .hint("put a copy of your LABEL.key back there")),
            [..] => Err(CliError::new(format!("several keys in {}", directory.display()))
                .hint("leave one *.key there and move the others away")),
        }
    }

    fn load_file(path: &Path) -> Result<Self, CliError> {
        let file: KeyFile = toml_file::load(path)?;
        let id = key_id(&file.secret);
        if id != file.id {
            let message = format!("{}: its id is not that of its secret", path.display());
            return Err(CliError::new(message).hint("restore it from a copy"));
        }
        Ok(Self { id, label: file.label, secret: file.secret })
    }

    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.key", self.label)
    }

    /// Its file's content.
    pub(crate) fn to_toml(&self) -> Zeroizing<String> {
        let secret = self.secret.to_hex();
        // Room for all of it at once: a String that grows leaves its old bytes behind.
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

fn key_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("key")) {
            files.push(path);
        }
    }
    Ok(files)
}

/// `USER@HOSTNAME`, of letters that are safe in a file's name and in TOML.
fn default_label() -> String {
    let user = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(user).ok().flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| format!("uid{user}"));
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let safe = |text: &str| -> String {
        let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let text: String = text.chars().map(|c| if keep(c) { c } else { '-' }).collect();
        // 64 letters each: a file's name has 255 at most.
        text.trim_start_matches('.').chars().take(64).collect()
    };
    format!("{}@{}", safe(&name), safe(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_to_its_file_and_back_and_a_damaged_one_is_noticed() {
        let key = ControllerKey::generate().unwrap();
        assert!(key.label.contains('@'));
        let text = key.to_toml();
        assert!(text.capacity() == 1024 && text.len() < 1024);
        let file: KeyFile = toml_file::parse(Path::new("k"), &text).unwrap();
        assert!(file.secret.matches(key.secret.expose()));
        assert_eq!((file.id, &file.label), (key.id, &key.label));
    }
}
