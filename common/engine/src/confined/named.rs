//! Paths as the operator named them: links in them are followed.
//!
//! A magic link, such as `/proc/PID/cwd` or `/proc/self/fd/3`, leads to what a process has open, whatever the
//! permissions on the path. A process that opens paths from the wire refuses magic links
//! ([`refuse_magic_links`]). At the operator's own end `/dev/stdin` and `/dev/fd/63` are magic links, and work.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

static REFUSED: AtomicBool = AtomicBool::new(false);

/// Makes this process refuse magic links from now on. For processes that open paths from the wire.
pub fn refuse_magic_links() {
    REFUSED.store(true, Ordering::Relaxed);
}

/// Opens a path that the operator named. A relative path begins at `directory`.
pub fn open_at(directory: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = if REFUSED.load(Ordering::Relaxed) {
        ResolveFlags::NO_MAGICLINKS
    } else {
        ResolveFlags::empty()
    };
    open_resolved(directory, path, flags, resolve)
}

/// Opens a path that the operator named. A relative path begins at the working directory.
pub fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_at(CWD, path, flags)
}

fn open_resolved(
    directory: impl AsFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    // The system calls refuse an empty path, which stands for the start here.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::CLOEXEC;
    if !resolve.is_empty() {
        match openat2(directory.as_fd(), path, flags, Mode::empty(), resolve) {
            // Before Linux 5.6 only the rights of this process limit it.
            Err(Errno::NOSYS) => {}
            opened => return Ok(opened?),
        }
    }
    Ok(openat(directory, path, flags, Mode::empty())?)
}

/// Makes a directory that the operator named, and its missing parents.
pub fn make_all(path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    // The deepest existing directory, and the missing components below it.
    let (mut there, mut missing) = (path, Vec::new());
    let mut directory = loop {
        match open(there, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => break opened?,
        }
        let mut components = there.components();
        let Some(last) = components.next_back() else { return Err(Errno::NOENT.into()) };
        missing.push(last);
        there = components.as_path();
    };
    for name in missing.into_iter().rev().map(|component| Path::new(component.as_os_str())) {
        match mkdirat(&directory, name, Mode::from_raw_mode(0o777)) {
            // Another process made it just now, or it is `..`.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        directory = open_at(&directory, name, flags)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_and_magic_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let link = directory.path().join("link");
        symlink(&target, &link).unwrap();
        let opened = std::fs::File::open(&target).unwrap();
        let strict = ResolveFlags::NO_MAGICLINKS;
        let open = |path: &str, resolve| {
            open_resolved(CWD, Path::new(path), OFlags::RDONLY, resolve).map(|_| ())
        };
        assert!(open(link.to_str().unwrap(), strict).is_ok());
        assert!(open("/proc/self/status", strict).is_ok(), "a link, but no magic one");
        let fd = format!("/proc/self/fd/{}", opened.as_raw_fd());
        symlink(&fd, directory.path().join("far")).unwrap();
        let far = directory.path().join("far");
        let magic = [&fd, "/proc/self/cwd", "/proc/self/root/etc", "/proc/thread-self/cwd/."];
        for path in magic.into_iter().chain([far.to_str().unwrap()]) {
            assert!(open(path, ResolveFlags::empty()).is_ok(), "{path}");
            let error = open(path, strict).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP), "{path}");
        }
    }

    #[test]
    fn missing_directories_are_made_where_the_path_leads() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        symlink("real", at("link")).unwrap();
        std::fs::create_dir(at("real")).unwrap();
        for (path, made) in
            [("a/b/c", "a/b/c"), ("link/x", "real/x"), ("p/q/../r/", "p/r"), ("", "")]
        {
            make_all(&at(path)).unwrap();
            assert!(at(made).is_dir(), "{path}");
        }
        assert!(at("p/q").is_dir());
        std::fs::write(at("file"), "").unwrap();
        assert!(make_all(&at("file/x")).is_err());
        symlink("nowhere", at("dangling")).unwrap();
        assert!(make_all(&at("dangling/x")).is_err());
    }
}
