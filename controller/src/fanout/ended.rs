//! The report of one host, and the summary of all.

use std::collections::BTreeMap;
use std::time::Duration;

use lariat_base::name::HostName;

use super::End;
use crate::error::CliError;
use crate::output::style::Paint;
use crate::target::fold;

/// The result on one host.
pub(crate) struct Ended {
    /// The classification.
    pub(crate) end: End,
    /// The command's exit status, if it has one.
    pub(crate) exit: Option<u8>,
    /// The failed command's end in words: `exit 3`.
    pub(crate) said: Option<String>,
    /// Failures other than the command's.
    pub(crate) errors: Vec<CliError>,
    /// Notes for the user.
    pub(crate) notes: Vec<String>,
    /// The exit status on a single host, if `end` does not determine it.
    pub(crate) status: Option<u8>,
}

impl Ended {
    /// Success.
    pub(crate) fn ok() -> Self {
        let (errors, notes) = (Vec::new(), Vec::new());
        Self { end: End::Ok, exit: None, said: None, errors, notes, status: None }
    }

    /// A failure, with its cause.
    pub(crate) fn failed(end: End, error: CliError) -> Self {
        let status = error.own_status();
        Self { end, errors: vec![error], status, ..Self::ok() }
    }

    /// Adds the step's name to the failures of one step of several.
    pub(crate) fn at(mut self, step: &str) -> Self {
        self.said = self.said.map(|said| format!("{step}: {said}"));
        self.errors = self.errors.into_iter().map(|error| error.during(step)).collect();
        self
    }

    /// The cause of the failure, in one line.
    pub(crate) fn why(&self) -> Option<String> {
        let lines: Vec<String> = self.errors.iter().map(CliError::line).collect();
        if lines.is_empty() { self.said.clone() } else { Some(lines.join("; ")) }
    }
}

/// The summary of all hosts: `38 ok, 1 failed (web3), 1 unreachable (db2); 3.2 s`. `sum` adds what was done in
/// total.
pub(crate) fn summary<'a>(
    ends: impl IntoIterator<Item = (&'a HostName, End)>,
    took: Duration,
    sum: Option<String>,
    paint: Paint,
) -> String {
    let decimals = if took < Duration::from_secs(10) { 2 } else { 1 };
    let sum = sum.map(|sum| format!("; {sum}")).unwrap_or_default();
    format!("{}{sum}; {:.decimals$} s", counts(ends, paint), took.as_secs_f64())
}

/// The number of hosts per outcome: the summary without the time.
pub(crate) fn counts<'a>(
    ends: impl IntoIterator<Item = (&'a HostName, End)>,
    paint: Paint,
) -> String {
    let mut hosts: BTreeMap<End, Vec<&str>> = BTreeMap::new();
    for (host, end) in ends {
        // The summary does not distinguish the two.
        let end = if end == End::Errored { End::Failed } else { end };
        hosts.entry(end).or_default().push(host.as_str());
    }
    let one = |(end, names): (&End, &Vec<&str>)| {
        let (count, word) = (names.len(), end.word());
        match end {
            End::Ok => paint.ok(&format!("{count} {word}")),
            _ => paint.failed(&format!("{count} {word} ({})", fold(names.iter().copied()))),
        }
    };
    let counts: Vec<String> = hosts.iter().map(one).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_hosts_that_did_not_succeed() {
        let hosts: Vec<HostName> = ["web01", "web02", "web03", "db1", "db2", "mail"]
            .map(|host| host.parse().unwrap())
            .into();
        let ends = [End::Ok, End::Failed, End::Failed, End::Unreachable, End::NotStarted, End::Ok];
        let of = |count| {
            let (ends, took) = (hosts.iter().zip(ends).take(count), Duration::from_millis(3210));
            summary(ends, took, None, Paint(false))
        };
        insta::assert_snapshot!(of(6), @"2 ok, 1 not started (db2), 2 failed (web[02-03]), 1 unreachable (db1); 3.21 s");
        insta::assert_snapshot!(of(1), @"1 ok; 3.21 s");
    }
}
