//! Another user's rights over files, for a thread and what it starts.
//!
//! On Linux each thread has its own (credentials(7)); only the C library's calls change those of all.
//! With its file system user a root thread also gives up its power over other users' files, and has
//! it back with its own (capabilities(7), setfsuid(2)). Threads that it starts begin with what it has.

use std::io;
use std::marker::PhantomData;

use nix::unistd::{Gid, Uid, getgroups, setfsgid, setfsuid};
use rustix::thread::set_thread_groups;

use crate::user::Credentials;

/// Another user's rights; the own ones come back when it is dropped.
pub struct Guise {
    groups: Vec<Gid>,
    user: Uid,
    group: Gid,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Guise {
    /// Takes them. Needs to be root.
    pub fn take(user: &Credentials) -> io::Result<Self> {
        let groups = getgroups()?;
        let theirs: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        set_groups(&theirs)?;
        let group = setfsgid(Gid::from_raw(user.gid));
        let own = setfsuid(Uid::from_raw(user.uid));
        let guise = Self { groups, user: own, group, thread: PhantomData };
        // The calls tell nothing but who it was before; nobody has the number -1.
        let now = (setfsuid(Uid::from_raw(u32::MAX)), setfsgid(Gid::from_raw(u32::MAX)));
        if now == (Uid::from_raw(user.uid), Gid::from_raw(user.gid)) {
            Ok(guise)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        setfsuid(self.user);
        setfsgid(self.group);
        if set_groups(&self.groups).is_err() {
            // Can't be: only the power over files was given up. Rather no agent than one of unknown rights.
            std::process::abort();
        }
    }
}

fn set_groups(groups: &[Gid]) -> io::Result<()> {
    let groups: Vec<_> =
        groups.iter().map(|group| rustix::thread::Gid::from_raw(group.as_raw())).collect();
    Ok(set_thread_groups(&groups)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::NamedTempFile;

    use super::*;

    const NOBODY: Credentials = Credentials { uid: 65_534, gid: 65_534, groups: Vec::new() };

    #[test]
    fn it_holds_for_the_thread_and_what_it_starts_until_it_is_dropped() {
        if !nix::unistd::geteuid().is_root() {
            assert!(Guise::take(&NOBODY).is_err(), "only root may");
            return;
        }
        let private = NamedTempFile::new().unwrap();
        let reads = || fs::read(private.path()).is_ok();
        assert!(reads());
        let guise = Guise::take(&NOBODY).unwrap();
        assert!(!reads());
        assert!(!std::thread::scope(|scope| scope.spawn(reads).join().unwrap()));
        drop(guise);
        assert!(reads());
        assert_eq!(getgroups().unwrap().len(), {
            std::thread::scope(|scope| scope.spawn(|| getgroups().unwrap().len()).join().unwrap())
        });
    }
}
