//! Why a rule denies a request.

use std::fmt;

use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::verb::Verb;

/// The rule of an entry that denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The keyring does not have the key.
    Keyring,
    /// Dates.
    Dates,
    /// Networks.
    Networks,
    /// Verbs.
    Verbs,
    /// Users.
    Users,
    /// Commands.
    Commands,
    /// Input of commands.
    Stdin,
    /// Roots of pushes.
    Push,
    /// Roots of pulls.
    Pull,
    /// Places to connect to.
    Connect,
    /// The host that may park connections.
    Park,
    /// Where to listen.
    Listen,
}

/// A request is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The verb that the request needs.
    pub verb: Verb,
    /// The rule that denies it.
    pub rule: Rule,
    /// What the rule has against it.
    pub why: String,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 10] = [
        Self::Keyring,
        Self::Dates,
        Self::Networks,
        Self::Verbs,
        Self::Users,
        Self::Commands,
        Self::Stdin,
        Self::Push,
        Self::Pull,
        Self::Connect,
    ];

    /// The name that it has in a keyring.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Dates => "dates",
            Self::Networks => "networks",
            Self::Verbs => "verbs",
            Self::Users => "users",
            Self::Commands => "commands",
            Self::Stdin => "stdin",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Connect => "connect",
            Self::Park => "park",
            Self::Listen => "listen",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.as_str(), self.why)
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::request(Cause::NotPermitted { verb: denial.verb, rule: denial.to_string() })
    }
}
