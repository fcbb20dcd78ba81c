//! What an agent finds on its host: its files, its disk, its unit.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lariat_wire::protocol::doctor::{Buffers, Examined, Finding};

use crate::check::{Findings, check};
use crate::upgrade::{VERSION, unit as systemd};

/// Most findings that are told, and most bytes of one.
const MOST: usize = 200;
const LONGEST: usize = 1000;

/// Free space below which the disk is worth a warning, and below which it is bad, in bytes.
const LITTLE: u64 = 512 * 1024 * 1024;
const TOO_LITTLE: u64 = 32 * 1024 * 1024;

/// Examines the host of the agent with this configuration and state directory. Reads files and asks systemd.
pub(crate) fn examine(config: &Path, state: &Path) -> Examined {
    let now = SystemTime::now();
    let mut findings = of_check(check(config, now));
    findings.extend(rustix::fs::statvfs(state).ok().map(|disk| {
        let [free, all] = [disk.f_bavail, disk.f_blocks].map(|n| n.saturating_mul(disk.f_frsize));
        of_disk(state, free, all)
    }));
    findings.push(of_unit(&unit()));
    findings.truncate(MOST);
    for Finding { text, todo, .. } in &mut findings {
        shorten(text);
        shorten(todo);
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Examined { version: VERSION.to_owned(), time_ms, buffers: Buffers::here(), findings }
}

/// Cuts off what is longer than a finding may be.
fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rfind(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
}

/// What `lariatd check` says.
fn of_check(Findings { good, doubtful, wrong }: Findings) -> Vec<Finding> {
    let todo = "mend it on the host, then lariatd check and systemctl reload lariatd";
    let warn = |text: String| Finding::warn(text.replacen(": warning: ", ": ", 1), todo);
    let good = good.into_iter().map(Finding::ok);
    let wrong = wrong.into_iter().map(|text| Finding::bad(text, todo));
    wrong.chain(doubtful.into_iter().map(warn)).chain(good).collect()
}

/// The disk of the state directory: the audit's, and that of jobs' output.
fn of_disk(state: &Path, free: u64, all: u64) -> Finding {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let text = format!("{}: {} of {} MiB are free", state.display(), mib(free), mib(all));
    let todo = "make room: without it the audit can't be written, and requests are refused";
    match free {
        ..TOO_LITTLE => Finding::bad(text, todo),
        TOO_LITTLE..LITTLE => Finding::warn(text, todo),
        _ => Finding::ok(text),
    }
}

/// How the agent was started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unit {
    /// By systemd, as this service.
    Service {
        /// Its name.
        name: String,
        /// What `systemctl is-enabled` says.
        enabled: String,
    },
    /// By hand, or by something else.
    None,
}

fn unit() -> Unit {
    let Some(name) = systemd::own() else { return Unit::None };
    let enabled = systemd::enabled(&name).unwrap_or_else(|error| error.to_string());
    Unit::Service { name, enabled }
}

fn of_unit(unit: &Unit) -> Finding {
    match unit {
        Unit::None => Finding::warn(
            "the agent is not a service of systemd",
            "nothing starts it when the host boots, or it dies: install lariatd.service",
        ),
        Unit::Service { name, enabled } if enabled == "enabled" => {
            Finding::ok(format!("{name}: enabled"))
        }
        Unit::Service { name, enabled } => Finding::warn(
            format!("{name}: {enabled}: it does not start when the host boots"),
            format!("systemctl enable {name}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use lariat_wire::protocol::doctor::Grade;

    use super::*;

    #[test]
    fn what_lariatd_check_says_is_graded() {
        let lines = |line: &str| vec![line.to_owned()];
        let found = of_check(Findings {
            good: lines("host.pem: valid"),
            doubtful: lines("host.pem: warning: it ends soon"),
            wrong: lines("keyring.toml:3: no such user"),
        });
        let told: Vec<_> = found.iter().map(|found| (found.grade, found.text.as_str())).collect();
        let expected = [
            (Grade::Bad, "keyring.toml:3: no such user"),
            (Grade::Warn, "host.pem: it ends soon"),
            (Grade::Ok, "host.pem: valid"),
        ];
        assert_eq!(told, expected);
        assert!(found.iter().all(|found| found.todo.is_empty() == (found.grade == Grade::Ok)));
    }

    #[test]
    fn a_long_finding_is_cut_between_characters() {
        let mut text = format!("a{}", "ä".repeat(LONGEST));
        shorten(&mut text);
        assert_eq!(text.len(), LONGEST - 1);
    }

    #[test]
    fn little_room_is_told_before_there_is_none() {
        let grade = |free| of_disk(Path::new("/s"), free, 1 << 40).grade;
        assert_eq!(grade(u64::MAX), Grade::Ok);
        assert_eq!([LITTLE, LITTLE - 1].map(grade), [Grade::Ok, Grade::Warn]);
        assert_eq!([TOO_LITTLE, TOO_LITTLE - 1].map(grade), [Grade::Warn, Grade::Bad]);
        assert_eq!(
            of_disk(Path::new("/s"), 5 << 30, 9 << 30).text,
            "/s: 5120 of 9216 MiB are free"
        );
    }

    #[test]
    fn a_unit_that_does_not_start_at_boot_is_told() {
        let service =
            |enabled: &str| Unit::Service { name: "l.service".into(), enabled: enabled.into() };
        assert_eq!(of_unit(&service("enabled")), Finding::ok("l.service: enabled"));
        assert_eq!(of_unit(&service("disabled")).todo, "systemctl enable l.service");
        assert_eq!(of_unit(&Unit::None).grade, Grade::Warn);
    }
}
