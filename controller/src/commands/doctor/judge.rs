//! What a controller concludes about a host from what it measured and was told. No I/O.

use std::time::Duration;

use lariat_base::name::HostName;
use lariat_wire::protocol::doctor::{Buffers, Finding};
use lariat_wire::protocol::key::ListedKey;

const DAY: i64 = 24 * 3600;

/// The days before a certificate's end from which it is worth a warning, and is bad.
const SOON: i64 = 30;
const VERY_SOON: i64 = 3;

/// How far two clocks may be apart before it is worth a warning, and is bad: certificates, keys and jobs have times.
const APART: Duration = Duration::from_secs(2);
const FAR_APART: Duration = Duration::from_secs(60);

/// The round trip below which buffers never hold a connection back, and the rate that they are to allow, in bytes a
/// second: 1 Gbit/s.
const SHORT: Duration = Duration::from_millis(10);
const RATE: u64 = 125_000_000;

/// The host's clock, beside this machine's, in milliseconds since 1970 at the same moment.
pub(super) fn clock(here: u64, there: u64) -> Finding {
    let apart = Duration::from_millis(here.abs_diff(there));
    let side = if there < here { "behind" } else { "ahead of" };
    let text = format!("clock: {:.1} s {side} this machine's", apart.as_secs_f64());
    let todo = "set the one that is wrong: chrony or systemd-timesyncd keeps it right";
    match apart {
        _ if apart < APART => Finding::ok("clock: as this machine's"),
        _ if apart < FAR_APART => Finding::warn(text, todo),
        _ => Finding::bad(text, todo),
    }
}

/// The end of a certificate, at `now`, both in seconds since 1970.
pub(super) fn certificate(what: &str, end: i64, now: i64, todo: String) -> Finding {
    let days = end.saturating_sub(now) / DAY;
    let text = format!("{what}: valid for {days} more days");
    match days {
        ..VERY_SOON => Finding::bad(text, todo),
        VERY_SOON..SOON => Finding::warn(text, todo),
        _ => Finding::ok(text),
    }
}

/// A key that is on the host although it was revoked there.
pub(super) fn revoked(host: &HostName, key: &ListedKey) -> Finding {
    let text = format!("keys: {} was revoked and is still there", key.label);
    Finding::bad(text, format!("lariat key revoke {} {host}", key.id))
}

/// The versions of both ends.
pub(super) fn version(host: &HostName, here: &str, there: &str) -> Finding {
    let text = format!("version: {there}, and {here} here");
    if here == there {
        Finding::ok(format!("version: {there}"))
    } else {
        Finding::warn(text, format!("lariat upgrade {host}, or install the other one here"))
    }
}

/// Whether the buffers of both ends can fill a link of 1 Gbit/s and this round trip, in each direction.
pub(super) fn buffers(round_trip: Duration, here: Buffers, there: Buffers) -> Vec<Finding> {
    let ms = round_trip.as_secs_f64() * 1000.0;
    let mut findings = Vec::new();
    let most = [here.send, here.receive, there.send, there.receive];
    if round_trip >= SHORT && !most.contains(&0) {
        // A kernel offers about half of a buffer of received bytes as the window, the rest is for its own use.
        let ends = [
            ("to it", "here", "tcp_wmem", here.send, "on the host", "tcp_rmem", there.receive / 2),
            (
                "from it",
                "on the host",
                "tcp_wmem",
                there.send,
                "here",
                "tcp_rmem",
                here.receive / 2,
            ),
        ];
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
        for (way, sender, send_name, send, receiver, receive_name, receive) in ends {
            let (end, name, window, share) = if send < receive {
                (sender, send_name, send, 1)
            } else {
                (receiver, receive_name, receive, 2)
            };
            let rate = window.saturating_mul(1_000_000) / micros;
            if rate < RATE {
                let needs = (RATE.saturating_mul(micros) / 1_000_000).saturating_mul(share);
                findings.push(Finding::warn(
                    format!(
                        "link: with a round trip of {ms:.0} ms, one connection sends at most {} MB/s {way}",
                        rate / 1_000_000
                    ),
                    format!("{end}, set the last number of net.ipv4.{name} to {needs} (sysctl)"),
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("link: a round trip of {ms:.1} ms")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use lariat_wire::protocol::doctor::Grade;

    use super::*;

    #[test]
    fn clocks_may_be_a_little_apart() {
        let at = 1_800_000_000_000;
        for (there, grade) in [
            (at, Grade::Ok),
            (at - 1999, Grade::Ok),
            (at - 2000, Grade::Warn),
            (at + 59_999, Grade::Warn),
            (at + 60_000, Grade::Bad),
            (0, Grade::Bad),
            (u64::MAX, Grade::Bad),
        ] {
            assert_eq!(clock(at, there).grade, grade, "{there}");
        }
        assert_eq!(clock(at, at - 95_000).text, "clock: 95.0 s behind this machine's");
        assert_eq!(clock(at, at + 3_000).text, "clock: 3.0 s ahead of this machine's");
    }

    #[test]
    fn a_certificates_end_is_told_a_month_before() {
        let grade = |days: i64| certificate("c", days * DAY, 0, "renew".to_owned()).grade;
        assert_eq!([365, 30, 29, 3].map(grade), [Grade::Ok, Grade::Ok, Grade::Warn, Grade::Warn]);
        assert_eq!([2, 0, -7].map(grade), [Grade::Bad; 3]);
        assert_eq!(certificate("c", i64::MAX, i64::MIN, String::new()).grade, Grade::Ok);
    }

    #[test]
    fn another_version_is_worth_a_word() {
        let host = "web1".parse().unwrap();
        assert_eq!(version(&host, "1.0.0", "1.0.0"), Finding::ok("version: 1.0.0"));
        assert_eq!(version(&host, "1.1.0", "1.0.0").grade, Grade::Warn);
    }

    #[test]
    fn buffers_that_hold_a_long_link_back_are_told_with_their_end() {
        let [large, small] = [64 << 20, 4 << 20].map(|most| Buffers { receive: most, send: most });
        let grades = |ms, here, there| {
            let found = buffers(Duration::from_millis(ms), here, there);
            found.into_iter().map(|found| (found.grade, found.todo)).collect::<Vec<_>>()
        };
        assert_eq!(grades(100, large, large), [(Grade::Ok, String::new())]);
        assert_eq!(grades(5, small, small), [(Grade::Ok, String::new())]);
        assert_eq!(grades(100, small, Buffers::default()), [(Grade::Ok, String::new())]);
        let todo = |end: &str, name: &str, needs| {
            (
                Grade::Warn,
                format!("{end}, set the last number of net.ipv4.{name} to {needs} (sysctl)"),
            )
        };
        let expected = [
            todo("on the host", "tcp_rmem", 25_000_000),
            todo("on the host", "tcp_wmem", 12_500_000),
        ];
        assert_eq!(grades(100, large, small), expected);
        let found = buffers(Duration::from_millis(100), large, small);
        let text = "link: with a round trip of 100 ms, one connection sends at most 20 MB/s to it";
        assert_eq!(found[0].text, text);
    }
}
