//! Rules that do not do what they seem to: what can never match, and what undoes a rule. Nothing is looked up.

use std::fmt;

use lariat_wire::protocol::verb::Verb;

use super::entry::Entry;
use crate::policy::networks;
use crate::policy::path::Root;
use crate::policy::pattern::Pattern;

/// Something about a rule that its author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's line.
    pub line: usize,
    /// What it is.
    pub what: String,
    /// The rule must not stay as it is.
    pub is_error: bool,
}

impl Finding {
    /// A finding that leaves the keyring usable.
    pub fn warning(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into(), is_error: false }
    }

    /// A finding that must be mended.
    pub fn error(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into(), is_error: true }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = if self.is_error { "" } else { "warning: " };
        write!(f, "{}: {sort}{}", self.line, self.what)
    }
}

/// Programs that start other programs, or write files that are named in their arguments.
const POWERFUL: &[&str] = &[
    "apt",
    "apt-get",
    "ash",
    "awk",
    "bash",
    "busybox",
    "chroot",
    "cp",
    "cpio",
    "crontab",
    "csh",
    "curl",
    "dash",
    "dd",
    "docker",
    "doas",
    "ed",
    "emacs",
    "env",
    "ex",
    "expect",
    "find",
    "fish",
    "flock",
    "gawk",
    "gdb",
    "git",
    "install",
    "ionice",
    "ksh",
    "kubectl",
    "less",
    "ln",
    "lua",
    "make",
    "man",
    "mawk",
    "more",
    "mv",
    "nano",
    "nice",
    "node",
    "nohup",
    "nsenter",
    "nvim",
    "perl",
    "php",
    "pip",
    "pkexec",
    "podman",
    "python",
    "rsync",
    "ruby",
    "runuser",
    "scp",
    "script",
    "sed",
    "setpriv",
    "setsid",
    "sh",
    "sort",
    "split",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "tar",
    "taskset",
    "tcsh",
    "tee",
    "time",
    "timeout",
    "unshare",
    "unzip",
    "vi",
    "view",
    "vim",
    "watch",
    "wget",
    "xargs",
    "zip",
    "zsh",
];

/// Directories whose files the system runs or obeys.
const SENSITIVE: &[&str] = &[
    "/bin",
    "/boot",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run/systemd",
    "/sbin",
    "/sys",
    "/usr",
    "/var/spool/cron",
];

/// Looks at the rules of an entry.
pub fn lint(key: &Entry) -> Vec<Finding> {
    let mut found = Vec::new();
    useless(key, &mut found);
    networks(key, &mut found);
    if let Some(commands) = &key.commands {
        if key.users.is_none() {
            let what =
                "`commands` without `users`: they run as the agent's own user, or as any other";
            found.push(Finding::warning(commands.line, what));
        }
        for pattern in commands.iter() {
            self::pattern(pattern, pattern.line, &mut found);
        }
        undone(key, commands.line, &mut found);
    }
    for root in key.push.iter().flat_map(|roots| roots.iter()) {
        push_root(key, root, root.line, &mut found);
    }
    found
}

/// Rules that permit nothing: for verbs that the key does not have, empty ones, and what can't be.
fn useless(key: &Entry, found: &mut Vec<Finding>) {
    let mut warn = |line, what: &str| found.push(Finding::warning(line, what));
    if key.verbs.bits() == 0 && key.park.is_none() {
        warn(key.verbs.line, "`verbs` is empty: the key can do nothing but log in");
    }
    for (name, list) in [
        ("users", key.users.as_ref().map(|list| (list.line, list.is_empty()))),
        ("networks", key.networks.as_ref().map(|list| (list.line, list.is_empty()))),
        ("commands", key.commands.as_ref().map(|list| (list.line, list.is_empty()))),
        ("push", key.push.as_ref().map(|list| (list.line, list.is_empty()))),
        ("pull", key.pull.as_ref().map(|list| (list.line, list.is_empty()))),
        ("connect", key.connect.as_ref().map(|list| (list.line, list.is_empty()))),
        ("listen", key.listen.as_ref().map(|list| (list.line, list.is_empty()))),
    ] {
        if let Some((line, true)) = list {
            warn(line, &format!("`{name}` permits nothing: it is empty"));
        }
    }
    if key.not_before.zip(key.not_after).is_some_and(|(start, end)| start > end) {
        warn(key.verbs.line, "`not_after` is before `not_before`: the key can never log in");
    }
    for place in key.connect.iter().flat_map(|places| places.iter()) {
        if place.is_never() {
            let what = "`connect` covers nothing here: addresses of loopback, link-local and multicast must be named one by one";
            warn(place.line, what);
        }
    }
    let rules = [
        ("commands", Verb::Run, key.commands.as_ref().map(|rule| rule.line)),
        ("push", Verb::Push, key.push.as_ref().map(|rule| rule.line)),
        ("pull", Verb::Pull, key.pull.as_ref().map(|rule| rule.line)),
        ("connect", Verb::Connect, key.connect.as_ref().map(|rule| rule.line)),
        ("listen", Verb::Listen, key.listen.as_ref().map(|rule| rule.line)),
    ];
    for (name, verb, line) in rules {
        if let Some(line) = line.filter(|_| !key.verbs.contains(verb)) {
            let what = format!("`{name}` permits nothing: the key does not have the verb `{verb}`");
            found.push(Finding::warning(line, what));
        }
    }
}

/// Networks in which nobody is that they let in.
fn networks(key: &Entry, found: &mut Vec<Finding>) {
    let Some(networks) = &key.networks else { return };
    for network in networks.iter().filter(|network| networks::is_of_loopback(network)) {
        let what = format!(
            "{network} lets nobody in: loopback addresses must be listed one by one, as 127.0.0.1 or ::1"
        );
        found.push(Finding::warning(networks.line, what));
    }
}

fn pattern(pattern: &Pattern, line: usize, found: &mut Vec<Finding>) {
    if pattern.takes_any_options() {
        let what = "`-..` lets any options follow";
        found.push(Finding::warning(line, what));
    }
    if let Some(word) = pattern.never() {
        let what = format!(
            "word {word} can't match: a wildcard passes over '.' and '..', an alternative over nothing"
        );
        found.push(Finding::warning(line, what));
    }
    for program in pattern.programs() {
        let program = String::from_utf8_lossy(program);
        if program.contains('*') {
            let what = format!("{program} stands for many programs");
            found.push(Finding::warning(line, what));
        } else if is_powerful(program.as_bytes()) {
            found.push(Finding::warning(line, powerful(&program)));
        }
    }
}

/// Whether a program starts others, or writes files that its arguments name, by the last part of its path.
pub(super) fn is_powerful(program: &[u8]) -> bool {
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let version = |c: char| c.is_ascii_digit() || c == '.';
    POWERFUL.contains(&String::from_utf8_lossy(name).trim_end_matches(version))
}

pub(super) fn powerful(program: &str) -> String {
    format!(
        "{program} can start programs or write files: the pattern is as strict as the program is"
    )
}

/// Verbs that lead around the commands.
fn undone(key: &Entry, line: usize, found: &mut Vec<Finding>) {
    if key.verbs.contains(Verb::Push) && key.push.is_none() {
        let what = "the verb `push` without a list `push` writes anything anywhere, programs too";
        found.push(Finding::warning(line, what));
    }
    if key.verbs.contains(Verb::Shell) {
        let what = "the verb `shell` permits nothing in an entry with `commands`";
        found.push(Finding::warning(line, what));
    }
}

/// The sensitive directory that a root has, or lies in.
pub(super) fn sensitive(root: &Root) -> Option<&'static str> {
    let is_below = |place: &str| {
        place.parse::<Root>().is_ok_and(|place| place.relative(root.as_bytes()).is_some())
    };
    SENSITIVE
        .iter()
        .copied()
        .find(|place| is_below(place) || root.relative(place.as_bytes()).is_some())
}

/// What is pushed below a root gets power from where it is.
pub(super) fn may_be_obeyed(root: &Root, place: &str, line: usize) -> Finding {
    let what = format!("what is pushed below {root} may be run or obeyed: {place} is there");
    Finding::warning(line, what)
}

fn push_root(key: &Entry, root: &Root, line: usize, found: &mut Vec<Finding>) {
    if let Some(place) = sensitive(root) {
        found.push(may_be_obeyed(root, place, line));
    }
    let programs = key.commands.iter().flat_map(|commands| commands.iter());
    if let Some(program) = programs
        .flat_map(|pattern| pattern.programs())
        .find(|program| root.relative(program).is_some())
    {
        let program = String::from_utf8_lossy(program);
        let what = format!("{program}, which the key may run, can be replaced below {root}");
        found.push(Finding::warning(line, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    fn found(rules: &str) -> Vec<String> {
        let (id, secret) = ("01".repeat(16), "ab".repeat(32));
        let text = format!(
            "[[key]]\nid = \"{id}\"\nlabel = \"x\"\nstored = \"{secret}\"\nagent = \"{secret}\"\n{rules}"
        );
        let keyring = Keyring::parse("keyring.toml".as_ref(), &text).unwrap();
        keyring.entries().flat_map(|key| lint(key)).map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn rules_that_hold_are_passed_over() {
        for fine in [
            "verbs = [\"run\", \"push\", \"keys\"]\n",
            "verbs = [\"run\"]\nnetworks = [\"127.0.0.1\", \"::1/128\", \"0.0.0.0/0\"]\n",
            "verbs = [\"run\"]\nusers = [\"www\"]\ncommands = [[\"/usr/bin/systemctl\", \"restart\", \"app\"]]\n",
            "verbs = [\"push\", \"pull\"]\npush = [\"/srv/app\"]\npull = [\"/etc\"]\n",
        ] {
            assert_eq!(found(fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn what_undoes_a_rule_or_never_matches_is_told_with_its_line() {
        let users = "users = [\"www\"]\n";
        for (rules, line) in [
            (
                "verbs = [\"run\"]\ncommands = [[\"/bin/true\"]]\n",
                "7: warning: `commands` without `users`",
            ),
            ("verbs = [\"run\"]\npush = [\"/srv\"]\n", "7: warning: `push` permits nothing: the"),
            ("verbs = [\"push\"]\npush = []\n", "7: warning: `push` permits nothing: it is empty"),
            ("verbs = [\"run\"]\nusers = []\n", "7: warning: `users` permits nothing: it is empty"),
            ("verbs = []\n", "6: warning: `verbs` is empty"),
            (
                "verbs = [\"run\"]\nnot_before = 2030-01-01\nnot_after = 2029-01-01\n",
                "6: warning: `not_after` is before",
            ),
            (
                "verbs = [\"connect\"]\nconnect = [\n\"127.0.0.0/8:22\"]\n",
                "8: warning: `connect` covers nothing",
            ),
            (
                "verbs = [\"run\"]\nUSERScommands = [\n[\"/bin/id\", \"-..\"],\n]\n",
                "9: warning: `-..` lets any options follow",
            ),
            (
                "verbs = [\"run\"]\nUSERScommands = [[\"/bin/id\", \"/a/../*\"]]\n",
                "8: warning: word 2 can't match",
            ),
            (
                "verbs = [\"run\"]\nUSERScommands = [[\"/bin/id\", \"{,}\"]]\n",
                "8: warning: word 2 can't match",
            ),
            (
                "verbs = [\"run\"]\nnetworks = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n",
                "7: warning: 127.0.0.0/8 lets nobody in",
            ),
            (
                "verbs = [\"run\"]\nUSERScommands = [[\"/usr/bin/python3.11\", \"x\"]]\n",
                "8: warning: /usr/bin/python3.11 can start programs",
            ),
            (
                "verbs = [\"run\"]\nUSERScommands = [[\"/opt/*\"]]\n",
                "8: warning: /opt/* stands for many programs",
            ),
            (
                "verbs = [\"run\", \"push\"]\nUSERScommands = [[\"/bin/id\"]]\n",
                "8: warning: the verb `push` without a list",
            ),
            (
                "verbs = [\"run\", \"shell\"]\nUSERScommands = [[\"/bin/id\"]]\n",
                "8: warning: the verb `shell` permits nothing",
            ),
            (
                "verbs = [\"push\"]\npush = [\"/etc/app\"]\n",
                "7: warning: what is pushed below /etc/app",
            ),
            ("verbs = [\"push\"]\npush = [\n\"/\"]\n", "8: warning: what is pushed below /"),
            (
                "verbs = [\"run\", \"push\"]\nUSERScommands = [[\"/srv/bin/x\"]]\npush = [\"/srv\"]\n",
                "9: warning: /srv/bin/x, which the key may run",
            ),
        ] {
            let found = found(&rules.replace("USERS", users));
            assert!(found.iter().any(|finding| finding.starts_with(line)), "{line}: {found:?}");
        }
    }
}
