//! Users and groups of this machine by name or number, for files that are given to them.

use nix::unistd::{Group, User};

use crate::protocol::transfer::Placement;
use crate::transfer::Finish;

/// A name that this machine's user database does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAccount {
    /// No such user.
    #[error("no user {0:?} there")]
    User(String),
    /// No such group.
    #[error("no group {0:?} there")]
    Group(String),
}

/// Looks up whom a received file is to belong to.
pub fn finish(placement: &Placement) -> Result<Finish, NoAccount> {
    let user = placement.user.as_deref().map(user).transpose()?;
    let group = placement.group.as_deref().map(group).transpose()?;
    Ok(Finish { mode: placement.mode, user, group, backup: placement.backup })
}

fn user(name: &str) -> Result<u32, NoAccount> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = User::from_name(name).ok().flatten();
    found.map(|user| user.uid.as_raw()).ok_or_else(|| NoAccount::User(name.to_owned()))
}

fn group(name: &str) -> Result<u32, NoAccount> {
    if let Ok(number) = name.parse() {
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
        let placement = |user: &str, group: &str| Placement {
            user: Some(user.to_owned()),
            group: Some(group.to_owned()),
            ..Placement::default()
        };
        let found = finish(&placement("root", "0")).unwrap();
        assert_eq!((found.user, found.group), (Some(0), Some(0)));
        let missing = finish(&placement("no-such-user-here", "0"));
        assert_eq!(missing, Err(NoAccount::User("no-such-user-here".to_owned())));
        assert!(finish(&placement("0", "no such group")).is_err());
    }
}
