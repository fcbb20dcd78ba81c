//! Looks up the program that a command names, for keys that may run certain programs only.

use std::ffi::OsStr;
use std::fs::{Metadata, metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::policy::path::is_plain;

/// The path of a program, or `None` if there is none that a rule could name. A name without a slash is looked up in
/// `directories`, a PATH; any other must be a path whose text says where it leads. Directories that others than
/// root may change are passed over.
pub fn look_up(name: &[u8], directories: &[u8]) -> Option<Vec<u8>> {
    look_up_where(name, directories, |directory| {
        directory.uid() == 0 && directory.mode() & 0o022 == 0
    })
}

fn look_up_where(
    name: &[u8],
    directories: &[u8],
    is_trusted: impl Fn(&Metadata) -> bool,
) -> Option<Vec<u8>> {
    if name.contains(&b'/') {
        return (is_plain(name) && name.len() > 1).then(|| name.to_vec());
    }
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    directories.split(|&byte| byte == b':').find_map(|directory| {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        let stat = |path: &[u8]| metadata(Path::new(OsStr::from_bytes(path))).ok();
        if !is_plain(directory) || !stat(directory).is_some_and(|stat| is_trusted(&stat)) {
            return None;
        }
        let path = [directory, b"/", name].concat();
        let is_program = stat(&path).is_some_and(|stat| stat.is_file() && stat.mode() & 0o111 != 0);
        is_program.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_directories_of_roots_own_count() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for (directory, mode) in [("open", 0o777), ("group", 0o775), ("fine", 0o755)] {
            fs::create_dir(at(directory)).unwrap();
            for (name, executable) in [("both", 0o755), ("data", 0o644)] {
                let file = at(directory).join(name);
                fs::write(&file, "").unwrap();
                fs::set_permissions(&file, PermissionsExt::from_mode(executable)).unwrap();
            }
            fs::set_permissions(at(directory), PermissionsExt::from_mode(mode)).unwrap();
        }
        fs::create_dir(at("fine/directory")).unwrap();
        let text = |directory: &str| at(directory).into_os_string().into_string().unwrap();
        let path =
            ["", ".", "usr/bin", &text("open"), &text("group"), &text("none"), &text("fine/")];
        let find = |name: &str| {
            let own = |stat: &Metadata| stat.mode() & 0o022 == 0;
            look_up_where(name.as_bytes(), path.join(":").as_bytes(), own)
        };
        assert_eq!(find("both"), Some(text("fine/both").into_bytes()));
        for none in ["data", "directory", "missing", "", ".", "..", "fine/both", "./both"] {
            assert_eq!(find(none), None, "{none}");
        }
        for path in ["/bin/x", "/no/such/program"] {
            assert_eq!(find(path), Some(path.as_bytes().to_vec()), "a rule compares its text");
        }
        for bad in ["/", "//bin/x", "/bin/../x", "/bin/./x", "/bin/x/"] {
            assert_eq!(find(bad), None, "{bad}");
        }
    }
}
