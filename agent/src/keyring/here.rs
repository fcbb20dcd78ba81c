//! What the rules of a keyring name, as it is on this host: users, programs, directories.

use std::ffi::OsStr;
use std::fs::{Metadata, symlink_metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lariat_base::os_error::os_error;
use lariat_engine::confined::Base;

use super::entry::Entry;
use super::lint::{Finding, is_powerful, may_be_obeyed, powerful, sensitive};
use crate::policy::path::{self, Root};
use crate::policy::pattern::Pattern;
use crate::program;
use crate::user::User;

/// A link on a way that may have none.
const LOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();

/// What rules are compared with.
pub struct Host<'a> {
    /// The agent's own files and directories, and its program: whoever changes these has the host.
    pub own: Vec<PathBuf>,
    /// Where programs are looked up, a PATH.
    pub path: &'a str,
    /// The user that the agent runs as.
    pub user: &'a User,
}

impl Host<'_> {
    /// Looks at what the rules of an entry name.
    pub fn look(&self, key: &Entry) -> Vec<Finding> {
        let mut found = Vec::new();
        self.users(key, &mut found);
        for root in key.push.iter().chain(&key.pull).flat_map(|roots| roots.iter()) {
            self.root(root, root.line, &mut found);
        }
        for root in key.push.iter().flat_map(|roots| roots.iter()) {
            self.push_root(key, root, root.line, &mut found);
        }
        for pattern in key.commands.iter().flat_map(|commands| commands.iter()) {
            self.pattern(pattern, pattern.line, &mut found);
        }
        found
    }

    fn users(&self, key: &Entry, found: &mut Vec<Finding>) {
        let own = self.user.name();
        let Some(users) = &key.users else { return };
        for name in users.iter() {
            let what = match User::named(name) {
                Ok(None) => format!("there is no user {name} on this host"),
                Ok(Some(user)) if self.user.uid != 0 && user.uid != self.user.uid => {
                    format!("the agent runs as {own}, and only as root could it act as {name}")
                }
                Ok(Some(_)) => continue,
                Err(error) => format!("user {name}: {error}"),
            };
            found.push(Finding::warning(users.line, what));
        }
    }

    fn root(&self, root: &Root, line: usize, found: &mut Vec<Finding>) {
        look_at_root(root, line, found);
        found.extend(own_root(root, &self.own).map(|what| Finding::error(line, what)));
    }

    /// Homes, and where programs are, besides those that every system has.
    fn push_root(&self, key: &Entry, root: &Root, line: usize, found: &mut Vec<Finding>) {
        if sensitive(root).is_some() {
            return;
        }
        let users = key.users.iter().flat_map(|users| users.iter());
        let homes = users.filter_map(|name| User::named(name).ok()?).map(|user| user.home);
        let programs = self.path.split(':').map(|place| place.as_bytes().to_vec());
        let place = homes.chain(programs).find(|place| {
            path::is_plain(place) && overlap(root, Path::new(OsStr::from_bytes(place)))
        });
        if let Some(place) = place {
            found.push(may_be_obeyed(root, &String::from_utf8_lossy(&place), line));
        }
    }

    fn pattern(&self, pattern: &Pattern, line: usize, found: &mut Vec<Finding>) {
        for program in pattern.programs().filter(|program| !program.contains(&b'*')) {
            let shown = String::from_utf8_lossy(program);
            let mut warn = |what: String| found.push(Finding::warning(line, what));
            let path = Path::new(OsStr::from_bytes(program));
            let is_program = |stat: Metadata| stat.is_file() && stat.mode() & 0o111 != 0;
            if !path.metadata().is_ok_and(is_program) {
                warn(format!("there is no program {shown} on this host"));
                continue;
            }
            let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            if let Some(place) = replaceable_program(path) {
                warn(format!(
                    "others than root may replace {shown}: {} is theirs",
                    place.display()
                ));
            } else if target.metadata().is_ok_and(|stat| others_may_change(&stat)) {
                warn(format!("others than root may write to {}", target.display()));
            }
            let target = target.as_os_str().as_bytes();
            if is_powerful(target) && !is_powerful(program) {
                warn(powerful(&format!("{shown}, which is {},", String::from_utf8_lossy(target))));
            }
            let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            match program::look_up(name, self.path.as_bytes()) {
                Some(other) if other != program => {
                    let other = String::from_utf8_lossy(&other);
                    warn(format!("{shown} must be named by its path: its name alone is {other}"));
                }
                _ => {}
            }
        }
    }
}

/// The first root of a key that has, or lies in, one of the agent's own files and directories, by its line, and why it
/// can't be one: whoever could write there would have the host.
pub(super) fn wrong_root(key: &Entry, own: &[PathBuf]) -> Option<(usize, String)> {
    let mut roots = key.push.iter().chain(&key.pull).flat_map(|roots| roots.iter());
    roots.find_map(|root| Some((root.line, own_root(root, own)?)))
}

/// Why this can't be a root, if it can't.
fn own_root(root: &Root, own: &[PathBuf]) -> Option<String> {
    let own = own.iter().find(|own| overlap(root, own))?;
    Some(format!("{root} can't be a root: {} is the agent's own", own.display()))
}

fn look_at_root(root: &Root, line: usize, found: &mut Vec<Finding>) {
    let path = Path::new(OsStr::from_bytes(root.as_bytes()));
    if let Err(error) = Base::confined(path) {
        let why = match (error.raw_os_error(), symlink_metadata(path)) {
            (_, Ok(metadata)) if metadata.is_symlink() => "it is a link".to_owned(),
            (Some(LOOP), _) => "a link leads there".to_owned(),
            (Some(errno), _) => os_error(errno),
            (None, _) => error.to_string(),
        };
        found.push(Finding::warning(line, format!("nothing in {root} can be reached: {why}")));
    }
    if let Some(place) = replaceable(path) {
        let what = format!("others than root may replace {root}: {} is theirs", place.display());
        found.push(Finding::warning(line, what));
    }
}

/// The directory above a path in which others than root may put something else in its place.
fn replaceable(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|parent| others_may_rename_in(parent))
}

/// The directory in which others than root may put something else in place of a program, or of a link that leads to it.
fn replaceable_program(path: &Path) -> Option<PathBuf> {
    /// Most links that the kernel follows (path_resolution(7)).
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..=MOST_LINKS {
        let directory = path.parent()?.canonicalize().ok()?;
        let real = directory.join(path.file_name()?);
        if let Some(place) = replaceable(&path).or_else(|| replaceable(&real)) {
            return Some(place.to_owned());
        }
        let Ok(target) = std::fs::read_link(&real) else { return None };
        path = directory.join(target);
    }
    None
}

/// Whether one of them is, or lies in, the other.
fn overlap(root: &Root, own: &Path) -> bool {
    let own = own.as_os_str().as_bytes();
    let text = String::from_utf8_lossy(own);
    root.relative(own).is_some()
        || text.parse::<Root>().is_ok_and(|own| own.relative(root.as_bytes()).is_some())
}

/// Whether others than root may put another name in place of one in this directory.
fn others_may_rename_in(directory: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    directory
        .metadata()
        .is_ok_and(|stat| stat.uid() != 0 || stat.mode() & STICKY == 0 && others_may_change(&stat))
}

/// Whether others than root may write to what has these attributes.
fn others_may_change(stat: &Metadata) -> bool {
    stat.uid() != 0 || stat.mode() & 0o022 != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::keyring::Keyring;

    fn found(rules: &str, own: &Path) -> Vec<String> {
        let (id, secret) = ("01".repeat(16), "ab".repeat(32));
        let text = format!(
            "[[key]]\nid = \"{id}\"\nlabel = \"x\"\nstored = \"{secret}\"\nagent = \"{secret}\"\n\
             verbs = [\"run\", \"push\", \"pull\"]\n{rules}"
        );
        let keyring = Keyring::parse("keyring.toml".as_ref(), &text).unwrap();
        let user = User::current().unwrap();
        let host =
            Host { own: vec![own.to_owned()], path: "/usr/bin:/bin:/pro/grams", user: &user };
        keyring.entries().flat_map(|key| host.look(key)).map(|one| one.to_string()).collect()
    }

    #[test]
    fn what_is_not_there_or_leads_elsewhere_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().canonicalize().unwrap();
        let at = |name: &str| home.join(name).into_os_string().into_string().unwrap();
        std::fs::create_dir(at("real")).unwrap();
        std::fs::create_dir(at("own")).unwrap();
        symlink(at("real"), at("link")).unwrap();
        std::fs::create_dir(at("real/in")).unwrap();
        for name in ["ls", "sh"] {
            symlink("/bin/sh", at(&format!("real/{name}"))).unwrap();
        }
        let own = home.join("own");
        for (rules, part) in [
            (
                "users = [\"no such user\"]\n".to_owned(),
                "7: warning: there is no user no such user",
            ),
            (format!("push = [{:?}]\n", at("link")), "can be reached: it is a link"),
            (format!("pull = [{:?}]\n", at("link/in")), "can be reached: a link leads there"),
            (format!("pull = [{:?}]\n", at("none")), "can be reached: no such file"),
            (format!("pull = [{:?}]\n", at("link/none")), "can be reached: a link leads there"),
            (format!("commands = [[{:?}]]\n", at("real/ls")), "sh, can start programs"),
            (format!("commands = [[{:?}]]\n", at("real/sh")), "real/sh must be named by its path"),
            (format!("push = [{:?}]\n", at("own")), "is the agent's own"),
            (format!("pull = [{:?}]\n", at("own")), "is the agent's own"),
            (
                "push = [\"/pro\"]\n".to_owned(),
                "below /pro may be run or obeyed: /pro/grams is there",
            ),
            (format!("push = [{:?}]\n", at("own/below")), "is the agent's own"),
            (format!("push = [{:?}]\n", home.to_str().unwrap()), "is the agent's own"),
            ("commands = [[\"/no/such/program\"]]\n".to_owned(), "there is no program /no/such"),
        ] {
            let found = found(&rules, &own);
            assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:?}");
        }
        let fine = format!("users = [\"root\"]\npush = [{:?}]\n", at("real"));
        let found = found(&fine, &own);
        let doubtful = |line: &String| !line.contains("others than root may replace");
        assert!(!found.iter().any(doubtful), "{found:?}");
    }
}
