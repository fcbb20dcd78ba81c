//! What a key may do: one bit for each verb.

use std::fmt;
use std::str::FromStr;

/// A kind of request that a key may be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Verb {
    /// Run commands.
    Run = 1 << 0,
    /// Send files to the host.
    Push = 1 << 1,
    /// Fetch files from the host.
    Pull = 1 << 2,
    /// Open a terminal.
    Shell = 1 << 3,
    /// See, follow and end jobs.
    Jobs = 1 << 4,
}

/// A text names no verb.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no verb (run, push, pull, shell, jobs)")]
pub struct UnknownVerb(String);

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Run, Self::Push, Self::Pull, Self::Shell, Self::Jobs];

    /// The name used in keyrings and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Shell => "shell",
            Self::Jobs => "jobs",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        let verb = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        verb.ok_or_else(|| UnknownVerb(text.to_owned()))
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant(u32);

impl Grant {
    /// Every verb that this version knows.
    pub const ALL: Self = Self(0b1_1111);

    /// The set as the wire has it.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Takes the wire's bits; those of verbs that this version does not know are kept, and mean
    /// nothing to it.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether `verb` is in the set.
    pub fn permits(self, verb: Verb) -> bool {
        self.0 & verb as u32 != 0
    }
}

impl FromIterator<Verb> for Grant {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        Self(verbs.into_iter().fold(0, |bits, verb| bits | verb as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_every_verb_and_names_go_there_and_back() {
        assert_eq!(Verb::ALL.into_iter().collect::<Grant>(), Grant::ALL);
        for verb in Verb::ALL {
            assert_eq!(verb.as_str().parse(), Ok(verb));
            assert!(Grant::ALL.permits(verb));
            assert!(!Grant::default().permits(verb));
        }
        assert!("sudo".parse::<Verb>().is_err());
    }
}
