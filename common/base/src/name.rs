//! Names and ids that are valid by construction.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::secret::{NoRandomness, random};

/// A host's name: `[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?`, not an IP address, not `all`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Why a text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHostName {
    /// It has a character or a length that a name must not have.
    #[error(
        "{0:?} is not a host name (1 to 63 of a-z, 0-9, '.' and '-', beginning and ending with a letter or digit)"
    )]
    Shape(String),
    /// It has capitals, and would be a name without them.
    #[error("{name:?} is not a host name, which has no capitals: did you mean {}?", .name.to_ascii_lowercase())]
    Capitals {
        /// The text as it was given.
        name: String,
    },
    /// It is an IP address, which belongs in the host's address.
    #[error(
        "{0:?} is an IP address, not a host name; give the host a name and put this in --address"
    )]
    IpAddress(String),
    /// It is `all`, which stands for every host.
    #[error("\"all\" stands for every host and can't name one")]
    All,
}

impl HostName {
    /// Longest name, in bytes: the limit of a DNS label, and the size of the challenge's field less one.
    pub const MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = BadHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let shaped = bytes.len() <= Self::MAX
            && bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'.' | b'-'));
        if !shaped {
            let lower = text.to_ascii_lowercase();
            let is_name = lower != text && lower.parse::<Self>().is_ok();
            let name = text.to_owned();
            return Err(if is_name {
                BadHostName::Capitals { name }
            } else {
                BadHostName::Shape(name)
            });
        }
        if text == "all" {
            return Err(BadHostName::All);
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(BadHostName::IpAddress(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for HostName {
    type Error = BadHostName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key's name for people, such as `alice@adminbox`: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`. It names a file too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyLabel(String);

/// A text is not a key's label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key's label (1 to 64 of A-Z, a-z, 0-9, '.', '_', '@', '+' and '-')")]
pub struct BadKeyLabel(String);

impl KeyLabel {
    /// Longest label, in bytes.
    pub const MAX: usize = 64;

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyLabel {
    type Err = BadKeyLabel;

    fn from_str(text: &str) -> Result<Self, BadKeyLabel> {
        let may_be = |b: u8| b.is_ascii_alphanumeric() || b"._@+-".contains(&b);
        let fits = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(may_be);
        if fits { Ok(Self(text.to_owned())) } else { Err(BadKeyLabel(text.to_owned())) }
    }
}

impl TryFrom<String> for KeyLabel {
    type Error = BadKeyLabel;

    fn try_from(text: String) -> Result<Self, BadKeyLabel> {
        text.parse()
    }
}

impl From<KeyLabel> for String {
    fn from(label: KeyLabel) -> Self {
        label.0
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is not the 32 hexadecimal digits of a 16-byte id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct BadId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new id from the operating system's random generator.
            pub fn generate() -> Result<Self, NoRandomness> {
                random().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| BadId)?;
                Ok(Self(bytes))
            }
        }
    };
}

id! {
    /// Identifies a controller's key on the wire; derived from the key.
    KeyId
}
id! {
    /// Random for every enrollment of a host, so that a host enrolled anew shares no secret with its former
    /// self.
    EnrolmentId
}
id! {
    /// A job's id, chosen by the controller, so that a repeated request can't run a command twice.
    JobId
}
id! {
    /// Identifies one push or pull, over any number of connections; chosen by the controller.
    TransferId
}
id! {
    /// Identifies one upgrade of an agent; chosen by the controller, so that a repeated request begins it once.
    UpgradeId
}
id! {
    /// Identifies one authenticated connection.
    SessionId
}
id! {
    /// Changes with every boot of a host (`/proc/sys/kernel/random/boot_id`).
    BootId
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_contract() {
        for good in ["a", "web1", "db-01.example", "0", "1.2.3", &"a".repeat(63)] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", ".a", "A_b", "a_b", "a b", "ä", &"a".repeat(64)] {
            assert!(matches!(bad.parse::<HostName>(), Err(BadHostName::Shape(_))), "{bad}");
        }
        assert!(matches!("10.0.0.1".parse::<HostName>(), Err(BadHostName::IpAddress(_))));
        assert_eq!("all".parse::<HostName>(), Err(BadHostName::All));
        let capitals = "Web1".parse::<HostName>().unwrap_err().to_string();
        assert_eq!(
            capitals,
            "\"Web1\" is not a host name, which has no capitals: did you mean web1?"
        );
    }

    #[test]
    fn labels_are_safe_in_a_file_name_and_on_a_command_line() {
        for good in ["a", "alice@adminbox", "ci+deploy-1.example_x", &"a".repeat(64)] {
            assert!(good.parse::<KeyLabel>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\n", "\u{e4}", "a\"", &"a".repeat(65)] {
            assert!(bad.parse::<KeyLabel>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_32_hex_digits() {
        let id: KeyId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert!("00".parse::<KeyId>().is_err());
    }

    proptest! {
        #[test]
        fn a_name_that_parses_prints_as_itself(text in "\\PC{0,70}") {
            if let Ok(name) = text.parse::<HostName>() {
                prop_assert_eq!(name.as_str(), text);
            }
        }
    }
}
