//! A host's status as text for people: a paragraph for each part.

use std::fmt::Write;
use std::time::Duration;

use lariat_base::date::clock;
use lariat_base::escape::escape;
use lariat_base::quantity::{bytes, percent, span};
use lariat_wire::grown::Grown;
use lariat_wire::protocol::note::Note;
use lariat_wire::protocol::status::{
    Disk, LimitUse, MemoryUse, Report, RunningJob, SessionStatus, TransferStatus,
};

use super::{certificate_days, is_apart, used};

/// A host's status, in lines. How far its clock is ahead is told if that is known.
pub fn describe(report: &Report, clock_skew: Option<f64>) -> String {
    let (now, mut text) = (report.time_ms / 1000, String::new());
    for (name, value) in facts(report, clock_skew) {
        line(&mut text, &format!("{name:<12} {value}"));
    }
    let sessions = report.sessions.iter().map(|Grown(one)| session(one, now));
    paragraph(&mut text, "sessions", sessions);
    paragraph(&mut text, "jobs", report.jobs.iter().map(|Grown(one)| job(one, now)));
    paragraph(&mut text, "transfers", report.transfers.iter().map(|Grown(one)| transfer(one)));
    paragraph(&mut text, "notes", report.notes.iter().map(|Grown(one)| note(one, now)));
    if report.unlisted > 0 {
        line(&mut text, &format!("and {} more that are not listed", report.unlisted));
    }
    text
}

/// The lines with a name and a value.
fn facts(report: &Report, clock_skew: Option<f64>) -> Vec<(&'static str, String)> {
    let ms = |ms| span(Duration::from_millis(ms));
    let [one, five, fifteen] = report.load.map(|load| f64::from(load) / 100.0);
    let MemoryUse { total, available, swap, swap_free } = report.memory;
    let mut memory = format!("{} used", bytes(total.saturating_sub(available), total));
    if swap > 0 {
        let _ = write!(memory, ", swap {}", bytes(swap.saturating_sub(swap_free), swap));
    }
    let version =
        format!("{}, running for {}", escape(report.version.as_bytes()), ms(report.agent_ms));
    let mut facts = vec![
        ("up", format!("{}, {}", ms(report.up_ms), escape(report.kernel.as_bytes()))),
        ("load", format!("{one:.2} {five:.2} {fifteen:.2} of {} processors", report.processors)),
        ("memory", memory),
    ];
    facts.extend(report.disks.iter().map(|Grown(one)| ("disk", disk(one))));
    facts.push(("lariatd", version));
    facts.extend(report.limits.iter().map(|Grown(one)| ("limit", limit(one))));
    facts.push(("certificate", days(certificate_days(report))));
    facts.push(("audit", format!("{} lines", report.audit.seq)));
    facts.extend(clock_skew.map(|skew| ("clock", apart(skew))));
    facts
}

fn days(left: i64) -> String {
    if left < 0 { "has ended".to_owned() } else { format!("valid for {left} more days") }
}

/// How far a clock is ahead of this machine's, in words.
fn apart(skew: f64) -> String {
    let side = if skew < 0.0 { "behind" } else { "ahead of" };
    if !is_apart(skew) {
        return "as this machine's".to_owned();
    }
    format!("{:.1} s {side} this machine's", skew.abs())
}

fn disk(disk: &Disk) -> String {
    let path = escape(&disk.path);
    let Some(used) = used(disk) else { return format!("{path} does not answer") };
    let free = bytes(disk.free, disk.size);
    let files = percent(disk.files_free, disk.files).filter(|free| *free < 10);
    let files = files.map(|free| format!(", {free}% of its files free")).unwrap_or_default();
    format!("{path} {used}% full, {free} free{files}")
}

fn limit(LimitUse { name, used, total, refusals }: &LimitUse) -> String {
    let name = escape(name.as_bytes());
    let share = if name == "memory" { bytes(*used, *total) } else { format!("{used} of {total}") };
    let refused = match refusals {
        0 => String::new(),
        count => format!(", refused {count} times"),
    };
    format!("{name} {share}{refused}")
}

fn session(one: &SessionStatus, now: u64) -> String {
    let doing = if one.doing.is_empty() { "idle" } else { &one.doing };
    let [label, origin, doing] = [&one.label, &one.origin, doing].map(|s| escape(s.as_bytes()));
    format!("{label} from {origin} since {}: {doing}", clock(one.since_ms / 1000, now))
}

fn job(one: &RunningJob, now: u64) -> String {
    let mut text = format!("{:.12} ", one.job.to_string());
    let _ =
        write!(text, "{} since {}", escape(one.label.as_bytes()), clock(one.since_ms / 1000, now));
    if let Some(user) = &one.user {
        let _ = write!(text, ", as {}", escape(user.as_bytes()));
    }
    if one.is_detached {
        text.push_str(", detached");
    }
    if let Some(command) = &one.command {
        let _ = write!(text, ": {}", escape(command));
    }
    text
}

fn transfer(one: &TransferStatus) -> String {
    let there = one.had.saturating_add(one.moved);
    let verb = if one.is_push { "push" } else { "pull" };
    let mut text =
        format!("{verb} of {}, {}", escape(one.label.as_bytes()), bytes(there, one.total));
    if let Some(percent) = percent(there, one.total) {
        let _ = write!(text, " ({percent}%)");
    }
    if let Some(user) = &one.user {
        let _ = write!(text, ", as {}", escape(user.as_bytes()));
    }
    if let Some(path) = &one.path {
        let _ = write!(text, ": {}", escape(path));
    }
    text
}

fn note(Note { number, time_ms, label, text, .. }: &Note, now: u64) -> String {
    let [label, text] = [label, text].map(|part| escape(part.as_bytes()));
    format!("{number} by {label} at {}: {text}", clock(time_ms / 1000, now))
}

fn paragraph(text: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    let mut heading = name;
    for one in lines {
        line(text, &format!("{heading:<12} {one}"));
        heading = "";
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use lariat_base::name::{JobId, KeyId, SessionId};
    use lariat_wire::protocol::audit::AuditHead;

    use super::*;
    use crate::status::StatusObject;

    fn report() -> Report {
        let (key, label) = (KeyId([0xa1; 16]), "bob@laptop".to_owned());
        let disk = |path: &str, free, is_silent| {
            let (path, kind) = (path.into(), "ext4".to_owned());
            Grown(Disk {
                path,
                kind,
                size: 100 << 30,
                free,
                files: 1000,
                files_free: 40,
                is_silent,
            })
        };
        let limit = |name: &str, used, total, refusals| {
            Grown(LimitUse { name: name.to_owned(), used, total, refusals })
        };
        let session = SessionStatus {
            session: SessionId([0x5e; 16]),
            key,
            label: label.clone(),
            origin: "10.0.0.7:51234".to_owned(),
            since_ms: 1_795_810_556_000,
            doing: "shell".to_owned(),
        };
        let job = RunningJob {
            job: JobId([0x1d; 16]),
            key,
            label: label.clone(),
            since_ms: 1_795_700_000_000,
            is_detached: true,
            user: Some("www".to_owned()),
            command: Some(b"make\n\x1b[2J".to_vec()),
        };
        let transfer = TransferStatus {
            key,
            label,
            since_ms: 1_795_810_556_000,
            is_push: true,
            user: None,
            path: None,
            total: 10 << 30,
            had: 1 << 30,
            moved: 3 << 30,
        };
        Report {
            version: "0.1.0".to_owned(),
            kernel: "Linux 6.1.0".to_owned(),
            time_ms: 1_795_810_560_000,
            up_ms: 90_061_000,
            agent_ms: 7_800_000,
            processors: 4,
            load: [42, 130, 5],
            memory: MemoryUse {
                total: 8 << 30,
                available: 5 << 30,
                swap: 2 << 30,
                swap_free: 2 << 30,
            },
            certificate_end: 1_795_810_560 + 312 * 86_400,
            audit: AuditHead { seq: 170, ..AuditHead::default() },
            disks: vec![disk("/", 59 << 30, false), disk("/mnt/\n", 0, true)],
            limits: vec![limit("sessions", 3, 256, 2), limit("memory", 0, 1 << 30, 0)],
            sessions: vec![
                Grown(session.clone()),
                Grown(SessionStatus { doing: String::new(), ..session }),
            ],
            jobs: vec![Grown(job)],
            transfers: vec![Grown(transfer)],
            unlisted: 3,
            notes: vec![Grown(Note {
                number: 7,
                time_ms: 1_795_810_556_000,
                key,
                label: "bob@laptop".to_owned(),
                text: "disk 3 is new\u{202e}".to_owned(),
            })],
        }
    }

    #[test]
    fn a_status_is_lines_that_can_be_read() {
        insta::assert_snapshot!(describe(&report(), Some(-3.04)), @r"
        up           1d01h, Linux 6.1.0
        load         0.42 1.30 0.05 of 4 processors
        memory       3.0/8.0 GiB used, swap 0.0/2.0 GiB
        disk         / 96% full, 59.0/100 GiB free, 4% of its files free
        disk         /mnt/\x0a does not answer
        lariatd      0.1.0, running for 2h10m
        limit        sessions 3 of 256, refused 2 times
        limit        memory 0.0/1.0 GiB
        certificate  valid for 312 more days
        audit        170 lines
        clock        3.0 s behind this machine's
        sessions     bob@laptop from 10.0.0.7:51234 since 20:15:56Z: shell
                     bob@laptop from 10.0.0.7:51234 since 20:15:56Z: idle
        jobs         1d1d1d1d1d1d bob@laptop since 2026-11-26 13:33Z, as www, detached: make\x0a\x1b[2J
        transfers    push of bob@laptop, 4.0/10.0 GiB (40%)
        notes        7 by bob@laptop at 20:15:56Z: disk 3 is new\u{202e}
        and 3 more that are not listed
        ");
    }

    #[test]
    fn a_status_as_an_object_has_numbers_and_no_null_in_place_of_a_list() {
        let text = |object: &StatusObject<'_>| serde_json::to_string(object).unwrap();
        let object = text(&StatusObject::of(&report(), Some(0.25)));
        let (key, session, sum) = ("a1".repeat(16), "5e".repeat(16), "00".repeat(32));
        let job = "1d".repeat(16);
        for part in [
            r#"{"version":"0.1.0","kernel":"Linux 6.1.0","uptime":90061,"agent_uptime":7800,"#,
            r#""processors":4,"load":[0.42,1.3,0.05],"memory":{"total":8589934592,"#,
            r#""disk":[{"path":"/","type":"ext4","size":107374182400,"free":63350767616,"#,
            r#""files":1000,"files_free":40},{"path":"/mnt/\n","type":"ext4"}],"#,
            &format!(
                r#""sessions":[{{"label":"bob@laptop","key":"{key}","origin":"10.0.0.7:51234","#
            ),
            &format!(r#""since":1795810556,"doing":"shell","session":"{session}"}},"#),
            r#""doing":null,"#,
            &format!(r#""jobs":[{{"job":"{job}","label":"bob@laptop","key":"{key}","#),
            r#""started":1795700000,"detached":true,"user":"www","command":"make\n\u001b[2J"}],"#,
            r#""verb":"push","user":null,"path":null,"bytes":10737418240,"reused":1073741824,"#,
            r#""limits":[{"name":"sessions","used":3,"total":256,"refused":2},"#,
            r#""unlisted":3,"certificate_days":312,"clock_skew":0.25,"audit":{"chain":""#,
            &format!(r#""seq":170,"hash":"{sum}"}},"notes":[{{"number":7,"time":1795810556,"#),
        ] {
            assert!(object.contains(part), "{part}: {object}");
        }
        let nothing = text(&StatusObject::default());
        insta::assert_snapshot!(nothing, @r#"{"version":null,"kernel":null,"uptime":null,"agent_uptime":null,"processors":null,"load":null,"memory":null,"disk":[],"sessions":[],"jobs":[],"transfers":[],"limits":[],"unlisted":0,"certificate_days":null,"clock_skew":null,"audit":null,"notes":[]}"#);
    }
}
