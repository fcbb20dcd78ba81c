//! Prints equal output of many hosts once: both streams and the exit status must be equal.
//!
//! Outputs are compared by a hash of everything, because only their beginnings are kept.

use std::collections::BTreeMap;

use lariat_base::name::HostName;
use similar::TextDiff;

use crate::capture::Captured;
use crate::target::{fold, natural};

/// Context lines around a difference.
const CONTEXT: usize = 3;

/// Most bytes of different outputs that are kept.
const MOST: usize = 256 * 1024 * 1024;

/// Printed after output that was truncated.
const LONGER: &[u8] = b"(it is longer; this is as much as is kept)\n";

/// The different outputs, and the hosts of each.
#[derive(Default)]
pub(crate) struct Gather {
    groups: BTreeMap<Same, Group>,
    bytes: usize,
}

/// A host's output, and its command's exit status.
#[derive(Default)]
pub(crate) struct Whole {
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    /// The exit status, if it has one.
    pub(crate) exit: Option<u8>,
}

/// What distinguishes the groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Same {
    stdout: Option<[u8; 32]>,
    stderr: Option<[u8; 32]>,
    exit: Option<u8>,
}

/// The different outputs exceed the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its output is not shown: that of all differs by over {} MiB", MOST >> 20)]
pub(crate) struct TooMuch;

/// Hosts with the same output.
struct Group {
    whole: Whole,
    hosts: Vec<HostName>,
}

/// The text for each stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GatheredText {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Gather {
    /// Adds a host's output.
    pub(crate) fn add(&mut self, host: &HostName, whole: Whole) -> Result<(), TooMuch> {
        let Whole { stdout, stderr, exit } = &whole;
        let same = Same { stdout: stdout.sum, stderr: stderr.sum, exit: *exit };
        if let Some(group) = self.groups.get_mut(&same) {
            group.hosts.push(host.clone());
            return Ok(());
        }
        let bytes = self.bytes.checked_add(stdout.bytes.len() + stderr.bytes.len());
        self.bytes = bytes.filter(|&sum| sum <= MOST).ok_or(TooMuch)?;
        self.groups.insert(same, Group { whole, hosts: vec![host.clone()] });
        Ok(())
    }

    /// Each output below its hosts, that of most hosts first. Hosts that succeeded without output are omitted.
    pub(crate) fn text(&self) -> GatheredText {
        let mut out = GatheredText::default();
        for group in self.sorted() {
            group.stdout(&mut out.stdout);
            group.stderr(&mut out.stderr);
        }
        out
    }

    /// The output of most hosts, and how that of each other group differs.
    pub(crate) fn differences(&self) -> GatheredText {
        let groups = self.sorted();
        let Some((common, others)) = groups.split_first() else { return GatheredText::default() };
        let mut out = GatheredText::default();
        common.head(&mut out.stdout);
        body(&common.whole.stdout, &mut out.stdout);
        common.stderr(&mut out.stderr);
        for other in others {
            other.head(&mut out.stdout);
            let (old, new) = (&common.whole.stdout, &other.whole.stdout);
            let diff = TextDiff::from_lines(old.bytes.as_slice(), new.bytes.as_slice());
            let (a, b) = (folded(&common.hosts), folded(&other.hosts));
            let mut text = Vec::new();
            diff.unified_diff()
                .context_radius(CONTEXT)
                .header(&a, &b)
                .to_writer(&mut text)
                .expect("a Vec takes what is written to it");
            if old.bytes == new.bytes && old.sum != new.sum {
                text.extend_from_slice(b"(it differs behind what is kept)\n");
            }
            lines(&text, &mut out.stdout);
            other.stderr(&mut out.stderr);
        }
        out
    }

    fn sorted(&self) -> Vec<&Group> {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by(|a, b| {
            let by_name = || natural(first(&a.hosts), first(&b.hosts));
            b.hosts.len().cmp(&a.hosts.len()).then_with(by_name)
        });
        groups
    }
}

impl Group {
    fn stdout(&self, out: &mut Vec<u8>) {
        if !self.whole.stdout.bytes.is_empty() {
            self.head(out);
            body(&self.whole.stdout, out);
        }
    }

    fn stderr(&self, out: &mut Vec<u8>) {
        if !self.whole.stderr.bytes.is_empty() {
            self.head(out);
            body(&self.whole.stderr, out);
        }
    }

    /// The hosts, their number, and how their commands failed, if they did.
    fn head(&self, out: &mut Vec<u8>) {
        const RULE: &str = "---------------\n";
        let hosts = folded(&self.hosts);
        let count =
            if self.hosts.len() > 1 { format!(" ({})", self.hosts.len()) } else { String::new() };
        let exit = self.whole.exit.filter(|&exit| exit != 0);
        let exit = exit.map(|exit| format!(": exit {exit}")).unwrap_or_default();
        out.extend_from_slice(format!("{RULE}{hosts}{count}{exit}\n{RULE}").as_bytes());
    }
}

fn first(hosts: &[HostName]) -> &str {
    hosts.iter().map(HostName::as_str).min_by(|a, b| natural(a, b)).unwrap_or_default()
}

fn folded(hosts: &[HostName]) -> String {
    fold(hosts.iter().map(HostName::as_str))
}

fn body(output: &Captured, out: &mut Vec<u8>) {
    lines(&output.bytes, out);
    if output.truncated {
        out.extend_from_slice(LONGER);
    }
}

fn lines(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    if !text.is_empty() && !text.ends_with(b"\n") {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(text: &str) -> Captured {
        let sum = (!text.is_empty()).then(|| blake3::hash(text.as_bytes()).into());
        Captured { bytes: text.into(), truncated: false, sum, replaced: 0 }
    }

    fn whole(stdout: &str, stderr: &str, exit: Option<u8>) -> Whole {
        Whole { stdout: captured(stdout), stderr: captured(stderr), exit }
    }

    fn gathered() -> Gather {
        let mut gather = Gather::default();
        for (host, output) in [
            ("web01", "a\nb\nc\n"),
            ("db1", "a\nX\nc\n"),
            ("web03", "a\nb\nc\n"),
            ("web02", "a\nb\nc\n"),
            ("mail", ""),
            ("db2", "no end"),
        ] {
            gather.add(&host.parse().unwrap(), whole(output, "", Some(0))).unwrap();
        }
        gather
    }

    #[test]
    fn equal_output_is_printed_once_below_its_hosts() {
        insta::assert_snapshot!(String::from_utf8(gathered().text().stdout).unwrap(), @"
        ---------------
        web[01-03] (3)
        ---------------
        a
        b
        c
        ---------------
        db1
        ---------------
        a
        X
        c
        ---------------
        db2
        ---------------
        no end
        ");
        assert_eq!(Gather::default().text(), GatheredText::default());
    }

    #[test]
    fn status_stderr_and_truncated_output_distinguish_groups() {
        let mut gather = Gather::default();
        let mut longer = whole("a\n", "", Some(0));
        (longer.stdout.truncated, longer.stdout.sum) = (true, Some([7; 32]));
        for (host, whole) in [
            ("h1", whole("a\n", "", Some(0))),
            ("h2", whole("a\n", "", Some(0))),
            ("h3", whole("a\n", "", Some(3))),
            ("h4", whole("a\n", "oops\n", Some(0))),
            ("h5", longer),
        ] {
            gather.add(&host.parse().unwrap(), whole).unwrap();
        }
        let GatheredText { stdout, stderr } = gather.text();
        insta::assert_snapshot!(String::from_utf8(stdout).unwrap(), @"
        ---------------
        h[1-2] (2)
        ---------------
        a
        ---------------
        h3: exit 3
        ---------------
        a
        ---------------
        h4
        ---------------
        a
        ---------------
        h5
        ---------------
        a
        (it is longer; this is as much as is kept)
        ");
        assert_eq!(
            String::from_utf8(stderr).unwrap(),
            "---------------\nh4\n---------------\noops\n"
        );
        let differences = String::from_utf8(gather.differences().stdout).unwrap();
        assert!(differences.contains("(it differs behind what is kept)"), "{differences}");
    }

    #[test]
    fn other_output_is_printed_as_a_difference() {
        let mut gather = gathered();
        gather.groups.retain(|_, group| group.whole.stdout.bytes != b"no end");
        insta::assert_snapshot!(String::from_utf8(gather.differences().stdout).unwrap(), @"
        ---------------
        web[01-03] (3)
        ---------------
        a
        b
        c
        ---------------
        db1
        ---------------
        --- web[01-03]
        +++ db1
        @@ -1,3 +1,3 @@
         a
        -b
        +X
         c
        ---------------
        mail
        ---------------
        --- web[01-03]
        +++ mail
        @@ -1,3 +0,0 @@
        -a
        -b
        -c
        ");
        assert_eq!(Gather::default().differences(), GatheredText::default());
    }
}
