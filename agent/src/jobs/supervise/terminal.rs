//! A command's terminal: made here, and the command's controlling one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use rustix::fs::{Mode, fchmod, fchown};
use rustix::process::Uid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::jobs::raw;
use crate::jobs::words::Size;
use crate::user::Credentials;

/// Our ends of a command's streams: stdin, if it has one, and outputs.
pub(super) type Ends = (Option<OwnedFd>, [Option<OwnedFd>; 2]);

/// Gives the command a terminal, which is its user's, for its three streams.
pub(super) fn connect(
    command: &mut Command,
    size: Size,
    user: Option<&Credentials>,
) -> io::Result<Ends> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    unlockpt(&ours)?;
    // By its descriptor, so that it does not matter which /dev/pts there is.
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    if let Some(user) = user {
        fchown(&theirs, Some(Uid::from_raw(user.uid)), None)?;
    }
    fchmod(&theirs, Mode::RUSR | Mode::WUSR | Mode::WGRP)?;
    resize(&ours, size);
    let mut modes = tcgetattr(&theirs)?;
    // So that a backspace takes away a letter, and not a part of it.
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    raw::lead_session(command);
    Ok((Some(ours.try_clone()?), [Some(ours), None]))
}

/// Sets a terminal's size, which tells those who use it.
pub(super) fn resize(terminal: &OwnedFd, Size { rows, columns }: Size) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // A size that can't be set leaves the one that was.
    let _ = tcsetwinsize(terminal.as_fd(), size);
}
