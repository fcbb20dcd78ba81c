//! What a key may be permitted to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = $name:literal,)*) => {
        /// A kind of work that a key may be permitted. Its position in this list is its number on the wire
        /// and its bit in [`Verbs`], and never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Verb {
            $($(#[$doc])* $verb,)*
        }

        impl Verb {
            /// Every verb.
            pub const ALL: &[Self] = &[$(Self::$verb,)*];

            /// The name used in keyrings and messages.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$verb => $name,)*
                }
            }
        }

        /// A text is not the name of a verb.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("{0:?} is no verb ({names})", names = [$($name,)*].join(", "))]
        pub struct UnknownVerb(String);
    };
}

verbs! {
    /// Run commands.
    Run = "run",
    /// Send files to the host.
    Push = "push",
    /// Fetch files from the host.
    Pull = "pull",
    /// Open a terminal.
    Shell = "shell",
    /// See, follow and end jobs.
    Jobs = "jobs",
    /// Reach other addresses through the host.
    Connect = "connect",
    /// Listen on the host's ports.
    Listen = "listen",
    /// Change keys: full power over the host.
    Keys = "keys",
    /// Read the audit.
    Audit = "audit",
    /// See the host's status and its sessions.
    Status = "status",
    /// Leave notes for other operators.
    Note = "note",
    /// Replace the agent: full power over the host.
    Upgrade = "upgrade",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        let verb = Self::ALL.iter().copied().find(|verb| verb.as_str() == text);
        verb.ok_or_else(|| UnknownVerb(text.to_owned()))
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs(u32);

impl Verbs {
    /// The set as it is on the wire: bit N stands for verb N.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Decodes the wire's bits. Bits of verbs that this version does not know are kept, without effect.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Every verb that this version knows.
    pub fn all() -> Self {
        Verb::ALL.iter().copied().collect()
    }

    /// Whether `verb` is in the set.
    pub fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u32) != 0
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        Self(verbs.into_iter().fold(0, |bits, verb| bits | 1 << verb as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back_and_each_has_a_bit_of_its_own() {
        assert_eq!(Verbs::all().bits(), 0b1111_1111_1111);
        for &verb in Verb::ALL {
            assert_eq!(verb.as_str().parse(), Ok(verb));
            assert!(Verbs::from_iter([verb]).contains(verb));
            assert!(!Verbs::default().contains(verb));
        }
        let unknown = "sudo".parse::<Verb>().unwrap_err().to_string();
        assert!(unknown.contains("run, push, pull"), "{unknown}");
    }
}
