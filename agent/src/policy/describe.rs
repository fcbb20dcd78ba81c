//! The rules of an entry as text.

use std::fmt::Display;
use std::time::SystemTime;

use lariat_base::clock::seconds;
use lariat_base::date;
use lariat_base::escape::escape;
use lariat_wire::protocol::verb::Verb;

use crate::keyring::{Entry, Lined};

/// Everything that a key may do, one rule a line, with its place in the file. Of dates and numbers the file is named
/// without the line.
pub fn describe(key: &Entry, file: &str) -> Vec<String> {
    let at = |line: usize| if line == 0 { file.to_owned() } else { format!("{file}:{line}") };
    let mut lines = Vec::new();
    let mut line = |name: &str, what: String, line: usize| {
        let what = if what.is_empty() { "none" } else { &what };
        lines.push(format!("{name}: {what} ({})", at(line)));
    };
    let verbs = Verb::ALL.iter().filter(|&&verb| key.verbs.contains(verb));
    match &key.park {
        Some(host) => line("park", host.value.to_string(), host.line),
        None => line("verbs", join(verbs), key.verbs.line),
    }
    if let Some(users) = &key.users {
        line("users", join(users.iter().map(|user| escape(user.as_bytes()))), users.line);
    }
    if let Some(networks) = &key.networks {
        line("networks", join(networks.iter()), networks.line);
    }
    for (name, date) in [("not_before", key.not_before), ("not_after", key.not_after)] {
        if let Some(date) = date {
            line(name, moment(date), 0);
        }
    }
    if let Some(commands) = &key.commands {
        if commands.is_empty() {
            line("command", String::new(), commands.line);
        }
        for pattern in commands.iter() {
            line("command", format!("{:?}", pattern.written), pattern.line);
        }
        line("stdin", key.stdin.to_string(), 0);
    }
    each(&mut line, "push", key.push.as_ref());
    each(&mut line, "pull", key.pull.as_ref());
    each(&mut line, "connect", key.connect.as_ref());
    each(&mut line, "listen", key.listen.as_ref());
    for (name, limit) in [("max_sessions", key.max_sessions), ("max_jobs", key.max_jobs)] {
        if let Some(limit) = limit {
            line(name, limit.to_string(), 0);
        }
    }
    lines
}

/// A line for each part of a list.
fn each<T: Display>(
    line: &mut impl FnMut(&str, String, usize),
    name: &str,
    list: Option<&Lined<Vec<Lined<T>>>>,
) {
    let Some(list) = list else { return };
    if list.is_empty() {
        line(name, String::new(), list.line);
    }
    for part in list.iter() {
        line(name, part.value.to_string(), part.line);
    }
}

/// A list as text.
pub fn join<T: Display>(parts: impl Iterator<Item = T>) -> String {
    parts.map(|part| part.to_string()).collect::<Vec<_>>().join(", ")
}

/// A moment as a keyring has it.
fn moment(time: SystemTime) -> String {
    let seconds = seconds(time);
    date::format(seconds).unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use lariat_wire::protocol::verb::Verbs;

    use super::*;

    #[test]
    fn each_rule_is_a_line() {
        let verbs = Verbs::from_iter([Verb::Run, Verb::Push]);
        let mut key = Entry::local(5, verbs);
        assert_eq!(describe(&key, "agent.toml"), ["verbs: run, push (agent.toml)"]);
        key.verbs.line = 6;
        key.users = Some(Lined { line: 7, value: vec!["www".to_owned()] });
        let root = |line, text: &str| Lined { line, value: text.parse().unwrap() };
        key.push = Some(Lined { line: 8, value: vec![root(9, "/srv"), root(10, "/tmp")] });
        key.pull = Some(Lined { line: 11, value: vec![] });
        key.max_jobs = Some(2);
        key.not_after = Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        assert_eq!(
            describe(&key, "keyring.toml"),
            [
                "verbs: run, push (keyring.toml:6)",
                "users: www (keyring.toml:7)",
                "not_after: 2027-01-15T08:00:00Z (keyring.toml)",
                "push: /srv (keyring.toml:9)",
                "push: /tmp (keyring.toml:10)",
                "pull: none (keyring.toml:11)",
                "max_jobs: 2 (keyring.toml)",
            ]
        );
    }
}
