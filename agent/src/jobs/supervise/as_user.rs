//! Looking at files as the command's user sees them, in a process that stays what it is.

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setegid, seteuid, setgroups};

use crate::user::Credentials;

/// Does something with another user's rights, if one is given, and then takes the own ones back.
///
/// An error means that nothing was done, or that the own rights did not come back: give up.
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
