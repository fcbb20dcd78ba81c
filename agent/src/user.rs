//! The user as whom the agent works, as the system's user database has it.

use std::path::PathBuf;

use nix::unistd::{Uid, User as Account};

/// A user of this host.
#[derive(Clone, Debug)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Name.
    pub name: String,
    /// Home folder: where relative paths begin, and commands run.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// A user could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum NoUser {
    /// The database has none with this number.
    #[error("the host's user database has no user {0}")]
    Unknown(u32),
    /// The database could not be asked.
    #[error("the host's user database can't be read: {0}")]
    Database(nix::errno::Errno),
}

impl User {
    /// The user as whom this process runs.
    pub fn own() -> Result<Self, NoUser> {
        let uid = Uid::effective();
        let account = Account::from_uid(uid).map_err(NoUser::Database)?;
        let account = account.ok_or(NoUser::Unknown(uid.as_raw()))?;
        Ok(Self { uid: uid.as_raw(), name: account.name, home: account.dir, shell: account.shell })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_has_a_home() {
        let user = User::own().unwrap();
        assert_eq!(user.uid, rustix::process::geteuid().as_raw());
        assert!(user.home.is_absolute());
    }
}
