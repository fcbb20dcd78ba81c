//! Options that both tools have.

use std::fmt::{self, Display};
use std::path::Path;
use std::process::Command;

use super::slashed;
use crate::rng::Rng;

/// The direction of the copy, and its options.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of both tools")]
pub(super) struct Options {
    pull: bool,
    pub(super) delete: bool,
    pub(super) links: bool,
    pub(super) xattrs: bool,
    pub(super) owner: bool,
    pub(super) special: bool,
    checksum: bool,
    compress: bool,
    exclude: Vec<&'static str>,
}

/// Globs that mean the same to both tools.
const GLOBS: [&str; 4] = ["*.o", "keep*", "/top", "down/"];

impl Options {
    pub(super) fn choose(rng: &mut Rng) -> Self {
        let exclude = if rng.one_in(4) {
            GLOBS.into_iter().filter(|_| rng.one_in(2)).collect()
        } else {
            Vec::new()
        };
        Self {
            pull: rng.one_in(2),
            delete: rng.one_in(2),
            links: rng.one_in(3),
            xattrs: rng.one_in(4),
            owner: rng.one_in(3),
            special: rng.one_in(4),
            checksum: rng.one_in(5),
            compress: rng.one_in(5),
            exclude,
        }
    }

    /// `lariat push` or `pull` of the source's contents.
    pub(super) fn lariat(&self, mut lariat: Command, source: &Path, dest: &Path) -> Command {
        let host = |path: &std::ffi::OsStr| {
            let mut word = std::ffi::OsString::from("web1:");
            word.push(path);
            word
        };
        let source = slashed(source);
        if self.pull {
            lariat.arg("pull").arg(host(&source)).arg(dest);
        } else {
            lariat.arg("push").arg(source).arg(host(dest.as_os_str()));
        }
        lariat
            .args(self.words(true))
            .args(self.exclude.iter().flat_map(|glob| ["--exclude", glob]));
        lariat
    }

    /// The `rsync` command for the same copy.
    pub(super) fn rsync(&self, source: &Path, dest: &Path) -> Command {
        let mut rsync = Command::new("rsync");
        // No devices, owners only if asked for, times to the nanosecond.
        rsync.args(["-rlpt", "--modify-window=-1"]).args(self.words(false));
        rsync.args(self.exclude.iter().flat_map(|glob| ["--exclude", glob]));
        rsync.arg(slashed(source)).arg(dest);
        rsync
    }

    fn words(&self, lariat: bool) -> impl Iterator<Item = &'static str> {
        let both = |mine, theirs| if lariat { mine } else { theirs };
        [
            (self.delete, "--delete"),
            (self.links, "-H"),
            (self.xattrs, "-X"),
            (self.owner, both("--owner", "-og")),
            (self.special, both("--special", "-p")),
            (self.checksum, "--checksum"),
            (self.compress, "--compress"),
        ]
        .into_iter()
        .filter_map(|(set, word)| set.then_some(word))
    }
}

impl Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pull { "pull" } else { "push" })?;
        self.words(true).try_for_each(|word| write!(f, " {word}"))?;
        self.exclude.iter().try_for_each(|glob| write!(f, " --exclude {glob}"))
    }
}
