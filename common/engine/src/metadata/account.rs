//! Resolves users and groups of this host by name or number.

use nix::unistd::{Group, User};

use super::overrides::ResolvedOverrides;
use super::xattrs::Namespaces;
use lariat_wire::protocol::transfer::Overrides;

/// A user or group that can't be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccount {
    /// No such user.
    #[error("there is no user {0:?}")]
    User(String),
    /// No such group.
    #[error("there is no group {0:?}")]
    Group(String),
    /// An invalid number.
    #[error(transparent)]
    Number(#[from] BadNumber),
}

/// A number that no user or group can have. The system calls reserve the largest one for "unchanged".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the number of a user or group, which are 0 to {max}", max = u32::MAX - 1)]
pub struct BadNumber(String);

/// The number of a user or group, or `None` if `text` is not a number.
pub fn number(text: &str) -> Result<Option<u32>, BadNumber> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|&number| number != u32::MAX);
    number.map(Some).ok_or_else(|| BadNumber(text.to_owned()))
}

/// Resolves the names of users and groups in overrides.
pub fn resolve(overrides: &Overrides) -> Result<ResolvedOverrides, NoAccount> {
    let user = overrides.user.as_deref().map(user).transpose()?;
    let group = overrides.group.as_deref().map(group).transpose()?;
    let Overrides { mode, directory_mode, backup, in_place, verify, .. } = *overrides;
    let spaces = Namespaces::default();
    Ok(ResolvedOverrides { mode, directory_mode, user, group, backup, in_place, verify, spaces })
}

fn user(name: &str) -> Result<u32, NoAccount> {
    if let Some(number) = number(name)? {
        return Ok(number);
    }
    let found = User::from_name(name).ok().flatten();
    found.map(|user| user.uid.as_raw()).ok_or_else(|| NoAccount::User(name.to_owned()))
}

fn group(name: &str) -> Result<u32, NoAccount> {
    if let Some(number) = number(name)? {
        return Ok(number);
    }
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid.as_raw()).ok_or_else(|| NoAccount::Group(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_others_are_not() {
        let overrides = |user: &str, group: &str| Overrides {
            user: Some(user.to_owned()),
            group: Some(group.to_owned()),
            ..Overrides::default()
        };
        let found = resolve(&overrides("root", "0")).unwrap();
        assert_eq!((found.user, found.group), (Some(0), Some(0)));
        let missing = resolve(&overrides("no-such-user-here", "0"));
        assert_eq!(missing, Err(NoAccount::User("no-such-user-here".to_owned())));
        assert!(resolve(&overrides("0", "no such group")).is_err());
    }

    #[test]
    fn a_number_that_no_account_can_have_is_refused() {
        assert_eq!(number("4294967294"), Ok(Some(u32::MAX - 1)));
        for name in ["www", "", "-1", "+1", "1a", " 1"] {
            assert_eq!(number(name), Ok(None), "{name}");
        }
        for bad in ["4294967295", "04294967295", "4294967296", "99999999999999999999999"] {
            assert_eq!(number(bad), Err(BadNumber(bad.to_owned())));
            let (user, group) = (Some(bad.to_owned()), None);
            let overrides = Overrides { user, group, ..Overrides::default() };
            assert!(matches!(resolve(&overrides), Err(NoAccount::Number(_))), "{bad}");
        }
    }
}
