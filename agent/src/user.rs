//! The user as whom the agent works, as the system's user database has it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Login name.
    pub name: Vec<u8>,
    /// Home folder: where relative paths begin, and commands run.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

impl User {
    /// The user that this process runs as. May ask a directory service: call it once.
    pub fn current() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        let account = nix::unistd::User::from_uid(uid)?;
        let uid = uid.as_raw();
        let Some(account) = account else {
            let name = uid.to_string().into_bytes();
            return Ok(Self { uid, name, home: b"/".to_vec(), shell: b"/bin/sh".to_vec() });
        };
        Ok(Self {
            uid,
            name: account.name.into_bytes(),
            home: account.dir.into_os_string().into_vec(),
            shell: account.shell.into_os_string().into_vec(),
        })
    }

    /// The home folder as a path.
    pub fn home(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.home))
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
    }
}
