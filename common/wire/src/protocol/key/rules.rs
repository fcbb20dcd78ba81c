//! What a key may do, as controllers and agents tell each other. The agent's keyring says the same in TOML, and the
//! agent alone decides whether it holds together.

use lariat_base::name::HostName;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_NAME, MAX_PATH};
use crate::protocol::invalid::Invalid;
use crate::protocol::verb::{Verb, Verbs};

/// Most items of a list.
const MOST: usize = 256;

/// Most words of a command's pattern.
const MOST_WORDS: usize = 1024;

/// A key's rules. A list narrows what a verb grants: without one there is no such limit, an empty one permits
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What the key may do.
    pub verbs: Verbs,
    /// The users that it may act as.
    pub users: Option<Vec<String>>,
    /// The networks that it may log in from, as CIDR.
    pub networks: Option<Vec<String>>,
    /// The first second at which it may be used, since 1970.
    pub not_before: Option<u64>,
    /// The last second at which it may be used, since 1970.
    pub not_after: Option<u64>,
    /// The directories below which it may write.
    pub push: Option<Vec<String>>,
    /// The directories below which it may read.
    pub pull: Option<Vec<String>>,
    /// Patterns of the commands that it may run.
    pub commands: Option<Vec<Vec<String>>>,
    /// Whether its commands may have stdin although there are patterns.
    pub stdin: bool,
    /// Where it may connect to.
    pub connect: Option<Vec<String>>,
    /// Where it may listen.
    pub listen: Option<Vec<String>>,
    /// Its own limit on concurrent sessions.
    pub max_sessions: Option<u32>,
    /// Its own limit on concurrent jobs.
    pub max_jobs: Option<u32>,
    /// The host that parks connections with it; then it may do nothing else.
    pub park: Option<HostName>,
}

impl Rules {
    /// Everything but the verb `keys`.
    pub fn all_but_keys() -> Self {
        Self { verbs: Verbs::all().without(Verb::Keys), ..Self::default() }
    }

    /// Checks what the type can't ensure, as far as an agent's keyring does not.
    pub fn check(&self) -> Result<(), Invalid> {
        let Self { users, networks, push, pull, commands, connect, listen, .. } = self;
        let within = |lists: [&Option<Vec<String>>; 3], most: usize| {
            lists
                .into_iter()
                .flatten()
                .all(|list| list.len() <= MOST && list.iter().all(|text| fits(text, most)))
        };
        let patterns = commands.iter().flatten();
        let fits = within([users, networks, connect], MAX_NAME)
            && within([push, pull, listen], MAX_PATH)
            && commands.as_ref().is_none_or(|commands| commands.len() <= MOST)
            && patterns.flatten().all(|word| fits(word, MAX_PATH))
            && commands.iter().flatten().all(|words| words.len() <= MOST_WORDS);
        let known = self.verbs.bits() & !Verbs::all().bits() == 0;
        if fits && known { Ok(()) } else { Err(Invalid::KeyRules) }
    }
}

/// Control characters would be of no use but to mislead a reader of the keyring.
fn fits(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_bounded_and_of_verbs_that_are_known() {
        let all = Rules::all_but_keys();
        assert_eq!(all.check(), Ok(()));
        assert!(!all.verbs.contains(Verb::Keys) && all.verbs.contains(Verb::Upgrade));
        let list = |text: &str, count: usize| Some(vec![text.to_owned(); count]);
        for bad in [
            Rules { verbs: Verbs::from_bits(1 << 31), ..Rules::default() },
            Rules { users: list("a", MOST + 1), ..Rules::default() },
            Rules { push: list("/srv\n[[key]]", 1), ..Rules::default() },
            Rules {
                commands: Some(vec![vec!["a".to_owned(); MOST_WORDS + 1]]),
                ..Rules::default()
            },
            Rules { listen: list(&"a".repeat(MAX_PATH + 1), 1), ..Rules::default() },
        ] {
            assert_eq!(bad.check(), Err(Invalid::KeyRules), "{bad:?}");
        }
    }
}
