//! Why an agent did not change its keyring.

use std::fmt;

use lariat_base::escape::escape;
use serde::{Deserialize, Serialize};

/// Why a keyring was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyProblem {
    /// The host was enrolled anew since the request was made.
    OtherEnrolment,
    /// The keyring has an entry of this id, current, pending or former. The text is its label.
    IdTaken(String),
    /// The keyring has an entry of this label.
    LabelTaken,
    /// The id was revoked here.
    Revoked,
    /// No entry has this label or id.
    NoSuchKey,
    /// Several entries have this label.
    Ambiguous,
    /// The keyring was changed since it was listed.
    Stale,
    /// No key would be left that may change keys for good.
    LockedOut,
    /// It is the key that asks.
    OwnKey,
    /// The keyring would have a mistake. The text says which.
    Mistake(String),
    /// The keyring's file can't be changed as it is written. The text says why.
    Form(String),
    /// The key that asks is not the one that waits to take the entry over.
    NotPending,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherEnrolment => f.write_str(
                "enrolled anew since the request was made: import the fleet's newer hosts, then make another request",
            ),
            Self::IdTaken(label) => {
                write!(f, "its keyring has this id already, as {}", escape(label.as_bytes()))
            }
            Self::LabelTaken => f.write_str("its keyring has another key of this label"),
            Self::Revoked => f.write_str("this key was revoked there; --again adds it all the same"),
            Self::NoSuchKey => f.write_str("its keyring has no such key"),
            Self::Ambiguous => f.write_str("several keys of its keyring have this label; name one by its id"),
            Self::Stale => f.write_str("its keyring was changed meanwhile; look at it again"),
            Self::LockedOut => f.write_str(
                "no key with the verb keys would be left there that has no end, has logged in, and may log in from here; nothing was changed",
            ),
            Self::OwnKey => f.write_str("this is the key that asks; --force revokes it all the same"),
            Self::Mistake(why) => write!(f, "the rules are wrong: {}", escape(why.as_bytes())),
            Self::Form(why) => {
                write!(f, "its keyring can't be edited: {}", escape(why.as_bytes()))
            }
            Self::NotPending => f.write_str("this key does not wait there to replace another"),
        }
    }
}
