//! Parses TOML so that an error names the file, the line and the key.
//!
//! Errors never quote a line of the file, since it may hold a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

use crate::escape::{escape, shortened};
use crate::private::{self, PrivateError};
use crate::secret::Secret;
use crate::toml_words::reworded;

/// Most characters of an error message, since it may quote a value of the file.
const LONGEST: usize = 300;

/// Why a file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TomlFileError {
    /// It can't be read, or is not private.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// Its content is wrong.
    #[error(transparent)]
    Content(#[from] BadContent),
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct BadContent {
    /// The file.
    pub path: PathBuf,
    /// The line of the mistake, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Loads a file without secrets (see [`private::read_public`]) into `T`.
pub fn load_public<T: DeserializeOwned>(path: &Path) -> Result<T, TomlFileError> {
    Ok(parse(path, &private::read_public(path)?)?)
}

/// Loads a private file (see [`private::read`]) into `T`.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, TomlFileError> {
    Ok(parse(path, &private::read(path)?)?)
}

/// Parses a file's text into `T`; `path` is for messages.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, BadContent> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let message = reworded(error.message().trim(), text, &span);
        BadContent::at(path, text, span.start, &message)
    })
}

impl BadContent {
    /// A mistake `start` bytes into the file's text.
    pub fn at(path: &Path, text: &str, start: usize, message: &str) -> Self {
        let before = text.as_bytes().get(..start).unwrap_or_default();
        Self {
            path: path.to_owned(),
            line: before.split(|&byte| byte == b'\n').count(),
            message: shortened(&escape(message.as_bytes()), LONGEST),
        }
    }
}

/// Reads 64 hexadecimal digits as a [`Secret`]. Copies made on the way are zeroized, and a wrong value is not
/// quoted in the error. For `#[serde(deserialize_with)]`.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    deserializer.deserialize_str(SecretVisitor)
}

struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Secret::from_hex(text)
            .ok_or_else(|| E::invalid_value(Unexpected::Other("another text"), &self))
    }

    fn visit_string<E: Error>(self, mut text: String) -> Result<Secret, E> {
        let secret = self.visit_str(&text);
        text.zeroize();
        secret
    }
}

/// Reads a value through its `FromStr`, so that the error is the type's own. For
/// `#[serde(deserialize_with)]`.
pub fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::EnrolmentId;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(deserialize_with = "from_text")]
        id: EnrolmentId,
        #[serde(deserialize_with = "secret")]
        secret: Secret,
    }

    fn error(text: &str) -> String {
        parse::<File>(Path::new("f.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_key_and_no_secret() {
        let id = "id = \"000102030405060708090a0b0c0d0e0f\"\n";
        let secret = format!("secret = \"{}\"\n", "ab".repeat(32));
        let file: File = parse(Path::new("f.toml"), &format!("{id}{secret}")).unwrap();
        assert_eq!((file.id.0[15], file.secret.matches(&[0xab; 32])), (15, true));

        let unknown = error(&format!("{id}\n{secret}lable = 1\n"));
        assert!(
            unknown.starts_with("f.toml:4: unknown key lable; the keys here are: id, secret"),
            "{unknown}"
        );
        assert_eq!(
            error(&format!("# one\nid = \"xy\"\n{secret}")),
            "f.toml:2: an id is 32 hexadecimal digits"
        );
        let wrong = error(&format!("{id}secret = \"{}\"\n", "ab".repeat(31)));
        assert_eq!(wrong, "f.toml:2: invalid value: another text, expected 64 hexadecimal digits");
        assert_eq!(error(&secret), "f.toml:1: the key id is missing");
        assert_eq!(
            error("idd = 1\n"),
            "f.toml:1: unknown key idd (did you mean id?); the keys here are: id, secret"
        );
        assert_eq!(error("id = 5\n"), "f.toml:1: it must be a text in quotes, and not integer `5`");
        let broken = error(&format!("{id}secret = \"{}\n", "ab".repeat(32)));
        assert!(broken.starts_with("f.toml:2: ") && !broken.contains("abab"), "{broken}");
    }
}
