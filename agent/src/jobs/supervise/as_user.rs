//! File access with the rights of the command's user, in a process that keeps its own identity.

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups};

use crate::user::Credentials;

/// Runs `work` with the rights of `user`, if there is one, and then restores the process's own.
///
/// After an error `work` was not run, or the process's own rights were not restored: the caller must exit.
pub(super) fn as_user<T>(user: Option<&Credentials>, work: impl FnOnce() -> T) -> nix::Result<T> {
    let Some(user) = user else { return Ok(work()) };
    let (own_groups, own_group, own_user) = (getgroups()?, getegid(), geteuid());
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setegid(Gid::from_raw(user.gid))?;
    seteuid(Uid::from_raw(user.uid))?;
    let done = work();
    seteuid(own_user)?;
    setegid(own_group)?;
    setgroups(&own_groups)?;
    Ok(done)
}
