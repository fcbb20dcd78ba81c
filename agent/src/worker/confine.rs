//! How a worker drops root's privileges, as the first thing in its process.
//!
//! The order matters (TRUST: the worker process). Everything that needs root comes before the change of the
//! user id; each step is checked, and the first failure ends the process before it has read a byte of the
//! request.

use std::ffi::OsString;
use std::io;

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_name, set_no_new_privs,
};

use crate::jobs::raw;
use crate::user::Credentials;

/// Makes this process the user's for good, as its command line says.
pub(super) fn confine(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let credentials = parse(arguments).ok_or(io::ErrorKind::InvalidInput)?;
    raw::close_inherited();
    // Other processes of the user can neither trace this one nor read its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    match raw::new_session_keyring() {
        // A kernel without keyrings, or one that denies them to every process, has none to protect.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM)) => {}
        made => made?,
    }
    raw::reset_signals();
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    become_user(&credentials)?;
    give_up_capabilities()?;
    set_no_new_privs(true)?;
    // A change of the user id resets this, so it is set again.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let _ = set_name(c"lariat-work");
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Credentials> {
    let mut next = || arguments.next()?.into_string().ok();
    let (uid, gid, list) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?);
    let groups = list.split(',').filter(|number| !number.is_empty());
    let groups = groups.map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?;
    // A worker never runs as root; to setresuid(2), 2^32-1 means "no change".
    let meaningful = uid != 0 && uid != u32::MAX && gid != u32::MAX;
    (meaningful && arguments.next().is_none()).then_some(Credentials { uid, gid, groups })
}

/// The arguments that name the user; [`parse`] reads them.
pub(super) fn arguments(user: &Credentials) -> [String; 3] {
    let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
    [user.uid.to_string(), user.gid.to_string(), groups.join(",")]
}

fn become_user(user: &Credentials) -> io::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (gid, uid) = (Gid::from_raw(user.gid), Uid::from_raw(user.uid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let (users, of_groups) = (getresuid()?, getresgid()?);
    let sorted = |mut groups: Vec<Gid>| {
        groups.sort_unstable_by_key(|group| group.as_raw());
        groups.dedup();
        groups
    };
    let as_asked = [users.real, users.effective, users.saved] == [uid; 3]
        && [of_groups.real, of_groups.effective, of_groups.saved] == [gid; 3]
        && sorted(getgroups()?) == sorted(groups);
    if as_asked { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

fn give_up_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    match clear_ambient_capability_set() {
        // The kernel has no ambient set (before Linux 4.3).
        Err(Errno::INVAL) => {}
        cleared => cleared?,
    }
    set_capabilities(None, none)?;
    if capabilities(None)? == none { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_goes_through_the_command_line_and_root_is_none() {
        let there_and_back = |credentials: &Credentials| {
            parse(arguments(credentials).into_iter().map(OsString::from))
        };
        for groups in [vec![], vec![7], vec![65_534, 4, 0]] {
            let nobody = Credentials { uid: 65_534, gid: 65_534, groups };
            assert_eq!(there_and_back(&nobody), Some(nobody));
        }
        let root = Credentials { uid: 0, gid: 5, groups: vec![] };
        assert_eq!(there_and_back(&root), None);
        let all = Credentials { uid: u32::MAX, gid: 5, groups: vec![] };
        assert_eq!(there_and_back(&all), None);
        for bad in ["", "5", "5 5", "5 5 x", "5 5 1,,x", "-1 5 1", "5 5 1 1"] {
            assert_eq!(parse(bad.split(' ').map(OsString::from)), None, "{bad}");
        }
    }
}
