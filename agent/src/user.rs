//! Users of this host, from the system's user database: the agent's own, and those that commands and file
//! work run as.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::unistd::Gid;
use serde::{Deserialize, Serialize};

/// The shell of a user whose entry names none.
const SHELL: &str = "/bin/sh";

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Id of the user's primary group.
    pub gid: u32,
    /// Login name.
    pub name: Vec<u8>,
    /// Home directory: where relative paths begin, and commands start.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

/// The ids that give a process a user's rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Id of the user's primary group.
    pub gid: u32,
    /// All groups that the user is in.
    pub groups: Vec<u32>,
}

impl User {
    /// The user that this process runs as. May query a directory service: call it once.
    pub fn current() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        let account = nix::unistd::User::from_uid(uid)?;
        Ok(account.map_or_else(
            || Self {
                uid: uid.as_raw(),
                gid: nix::unistd::getegid().as_raw(),
                name: uid.to_string().into_bytes(),
                home: b"/".to_vec(),
                shell: SHELL.as_bytes().to_vec(),
            },
            Self::from,
        ))
    }

    /// Looks up a user by login name. May query a directory service.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        Ok(nix::unistd::User::from_name(name)?.map(Self::from))
    }

    /// The ids for a process of this user. May query a directory service.
    pub fn credentials(&self) -> io::Result<Credentials> {
        let name = CString::new(self.name.clone())?;
        let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(self.gid))?;
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        Ok(Credentials { uid: self.uid, gid: self.gid, groups })
    }

    /// The login name as text.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// The home directory as a path.
    pub fn home(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.home))
    }
}

impl From<nix::unistd::User> for User {
    fn from(account: nix::unistd::User) -> Self {
        // passwd(5): an empty field means /bin/sh.
        let shell = account.shell.into_os_string().into_vec();
        let shell = if shell.is_empty() { SHELL.as_bytes().to_vec() } else { shell };
        Self {
            uid: account.uid.as_raw(),
            gid: account.gid.as_raw(),
            name: account.name.into_bytes(),
            home: account.dir.into_os_string().into_vec(),
            shell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_has_a_home() {
        let user = User::current().unwrap();
        assert_eq!(user.uid, rustix::process::geteuid().as_raw());
        assert!(user.home().is_absolute());
        let name = String::from_utf8(user.name.clone()).unwrap();
        assert_eq!(User::named(&name).unwrap(), Some(user.clone()));
        assert!(user.credentials().unwrap().groups.contains(&user.gid));
        assert_eq!(User::named("no such user").unwrap(), None);
    }
}
