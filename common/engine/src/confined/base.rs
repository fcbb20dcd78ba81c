//! Where the paths of a request begin, and how they are resolved.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::io::Errno;

use super::{Dir, named, readable_or_not};

/// Where the paths of a request begin.
#[derive(Debug)]
pub struct Base {
    path: PathBuf,
    /// The open directory that no path leads out of, through no link, if there is one.
    root: Option<Dir>,
}

impl Base {
    /// Paths are the operator's: relative ones begin at this directory, absolute ones and links lead anywhere.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), root: None }
    }

    /// Paths are relative to this directory and stay below it, whatever is there. The directory is opened now, and
    /// through no link: whoever may rename one of its parents moves it at most as a whole.
    pub fn confined(path: &Path) -> io::Result<Self> {
        let strict = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let open = |access| {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | access;
            Ok(openat2(CWD, path, flags, Mode::empty(), strict)?)
        };
        let root = Dir { fd: readable_or_not(open)?, strict: true };
        Ok(Self { path: path.to_owned(), root: Some(root) })
    }

    /// Whether no path leads out of a directory.
    pub fn is_confined(&self) -> bool {
        self.root.is_some()
    }

    /// The link that a path below the root leads through or to, if there is one. Nothing that is opened below a root
    /// passes it; this is for the message.
    pub fn link_on(&self, path: &[u8]) -> Option<PathBuf> {
        let (root, path) = (self.root.as_ref()?, below(path).ok()?);
        let is_link = |path: &[u8]| match root.resolve(path, PIN) {
            Ok(file) => is_symlink(&file),
            Err(error) => Errno::from_io_error(&error) == Some(Errno::LOOP),
        };
        if !is_link(path) {
            return None;
        }
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        let mut ends = slashes.map(|(at, _)| at).chain([path.len()]);
        let first = ends.find(|&end| is_link(&path[..end]))?;
        Some(self.shown(&path[..first]))
    }

    /// Whether a path below the root is a file that has other names, which may be outside.
    pub fn is_linked(&self, path: &[u8]) -> bool {
        let Some(root) = &self.root else { return false };
        let file = below(path).and_then(|path| root.resolve(path, PIN));
        file.and_then(|file| Ok(root.shuns(&fstat(file)?))).unwrap_or(false)
    }

    /// A path as a message shows it.
    pub fn shown(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.path.clone() } else { self.path.join(OsStr::from_bytes(path)) }
    }

    /// Opens a path.
    pub(crate) fn open(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        match &self.root {
            None => named::open(&self.shown(path), flags),
            Some(root) => root.resolve(below(path)?, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC),
        }
    }

    /// Opens a directory. Without the permission to read it, the descriptor only serves to reach names in it.
    pub(crate) fn directory(&self, path: &[u8]) -> io::Result<Dir> {
        let fd = readable_or_not(|access| self.open(path, OFlags::DIRECTORY | access))?;
        Ok(Dir { fd, strict: self.is_confined() })
    }

    /// Opens a directory and makes it, and its missing parents, if it does not exist. Returns whether that was so.
    pub(crate) fn make_all(&self, path: &[u8]) -> io::Result<()> {
        let Some(root) = &self.root else { return named::make_all(&self.shown(path)) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = root.resolve(b".", flags)?;
        let path = below(path)?;
        for name in path.split(|&byte| byte == b'/').filter(|name| *name != b".") {
            match mkdirat(&directory, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            directory = Dir { fd: directory, strict: true }.resolve(name, flags)?;
        }
        Ok(())
    }
}

/// Opens what has the name, and nothing of its content.
const PIN: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn is_symlink(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
}

/// A path below a root, without the slash at its end; `.` for the root itself.
fn below(path: &[u8]) -> io::Result<&[u8]> {
    if path.starts_with(b"/") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let path = path.strip_suffix(b"/").unwrap_or(path);
    super::check_path(path)?;
    Ok(if path.is_empty() { b"." } else { path })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_path_leads_out_of_a_root() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().canonicalize().unwrap();
        let at = |path: &str| home.join(path);
        std::fs::create_dir_all(at("root/a")).unwrap();
        std::fs::create_dir(at("out")).unwrap();
        std::fs::write(at("out/secret"), "x").unwrap();
        std::fs::write(at("root/a/file"), "x").unwrap();
        symlink("../out", at("root/link")).unwrap();
        symlink("a", at("root/inner")).unwrap();
        symlink("a/file", at("root/to-file")).unwrap();
        symlink("root", at("way")).unwrap();
        let base = Base::confined(&at("root")).unwrap();
        let open = |path: &str| base.open(path.as_bytes(), OFlags::RDONLY).is_ok();
        for path in ["", "a", "a/", "a/file"] {
            assert!(open(path), "{path}");
        }
        let proc = "/proc/self/fd/1";
        let outside = at("out/secret");
        for path in [
            "link",
            "link/secret",
            "inner",
            "inner/file",
            "to-file",
            "..",
            "../out/secret",
            "a/..",
            ".",
            "/",
            "/etc",
            "a//file",
            proc,
            outside.to_str().unwrap(),
        ] {
            assert!(!open(path), "{path}");
        }
        let link_on = |path: &str| base.link_on(path.as_bytes());
        for (path, link) in [
            ("link", "root/link"),
            ("link/", "root/link"),
            ("link/secret", "root/link"),
            ("inner/none/x", "root/inner"),
            ("to-file", "root/to-file"),
            ("a/../link", ""),
            ("a/file", ""),
            ("a/none/x", ""),
            ("", ""),
        ] {
            let link = (!link.is_empty()).then(|| at(link));
            assert_eq!(link_on(path), link, "{path}");
        }
        assert!(!base.is_linked(b"a/file"));
        std::fs::hard_link(at("root/a/file"), at("out/other")).unwrap();
        assert!(base.is_linked(b"a/file") && !base.is_linked(b"a") && !base.is_linked(b"none"));
        assert!(Base::at(&home).link_on(b"root/link").is_none());
        for bad in ["link/new", "../new", "inner/new", "a/file/new", "/tmp/new"] {
            assert!(base.make_all(bad.as_bytes()).is_err(), "{bad}");
        }
        base.make_all(b"b/c/d/").unwrap();
        assert!(at("root/b/c/d").is_dir() && !at("out/new").exists());
        assert!(base.directory(b"b/c").unwrap().strict);
        assert!(Base::confined(&at("way")).is_err(), "a root that is a link");
        assert!(Base::confined(&at("way/a")).is_err(), "a root behind a link");
        assert!(Base::confined(&at("root/a/file")).is_err());
        // The root stays the one that was opened.
        std::fs::rename(at("root"), at("moved")).unwrap();
        symlink("out", at("root")).unwrap();
        assert!(open("a/file") && !open("secret"));
    }
}
