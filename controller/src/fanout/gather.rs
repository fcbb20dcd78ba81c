//! Equal output of many hosts, told once.

use std::collections::BTreeMap;

use lariat_common::name::HostName;
use similar::TextDiff;

use crate::target::{fold, natural};

/// Lines around a difference.
const CONTEXT: usize = 3;

/// Bytes of different output that are kept.
const MOST: usize = 256 * 1024 * 1024;

/// Outputs, and which hosts had each.
#[derive(Default)]
pub(crate) struct Gather {
    outputs: BTreeMap<Vec<u8>, Vec<HostName>>,
    bytes: usize,
}

/// There is too much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its output is not shown: that of all differs by over {} MiB", MOST >> 20)]
pub(crate) struct TooMuch;

/// Hosts whose output is the same.
struct Group<'a> {
    output: &'a [u8],
    hosts: &'a [HostName],
}

impl Gather {
    /// A host's whole output.
    pub(crate) fn add(&mut self, host: &HostName, output: Vec<u8>) -> Result<(), TooMuch> {
        if let Some(hosts) = self.outputs.get_mut(&output) {
            hosts.push(host.clone());
            return Ok(());
        }
        self.bytes =
            self.bytes.checked_add(output.len()).filter(|&sum| sum <= MOST).ok_or(TooMuch)?;
        self.outputs.insert(output, vec![host.clone()]);
        Ok(())
    }

    /// Each output under its hosts, that of most hosts first. Hosts without any are left out.
    pub(crate) fn told(&self) -> Vec<u8> {
        let mut told = Vec::new();
        for Group { output, hosts } in self.groups().iter().filter(|group| !group.output.is_empty())
        {
            head(hosts, &mut told);
            body(output, &mut told);
        }
        told
    }

    /// The output of most hosts, and how each other differs from it.
    pub(crate) fn differences(&self) -> Vec<u8> {
        let groups = self.groups();
        let Some((common, others)) = groups.split_first() else { return Vec::new() };
        let mut told = Vec::new();
        head(common.hosts, &mut told);
        body(common.output, &mut told);
        for other in others {
            head(other.hosts, &mut told);
            let diff = TextDiff::from_lines(common.output, other.output);
            let (a, b) = (folded(common.hosts), folded(other.hosts));
            let mut text = Vec::new();
            diff.unified_diff()
                .context_radius(CONTEXT)
                .header(&a, &b)
                .to_writer(&mut text)
                .expect("a Vec takes what is written to it");
            body(&text, &mut told);
        }
        told
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<_> =
            self.outputs.iter().map(|(output, hosts)| Group { output, hosts }).collect();
        groups.sort_by(|a, b| {
            b.hosts.len().cmp(&a.hosts.len()).then_with(|| natural(first(a.hosts), first(b.hosts)))
        });
        groups
    }
}

fn first(hosts: &[HostName]) -> &str {
    hosts.iter().map(HostName::as_str).min_by(|a, b| natural(a, b)).unwrap_or_default()
}

fn folded(hosts: &[HostName]) -> String {
    fold(hosts.iter().map(HostName::as_str))
}

fn head(hosts: &[HostName], told: &mut Vec<u8>) {
    const RULE: &str = "---------------\n";
    let count = if hosts.len() > 1 { format!(" ({})", hosts.len()) } else { String::new() };
    told.extend_from_slice(format!("{RULE}{}{count}\n{RULE}", folded(hosts)).as_bytes());
}

fn body(output: &[u8], told: &mut Vec<u8>) {
    told.extend_from_slice(output);
    if !output.is_empty() && !output.ends_with(b"\n") {
        told.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            gather.add(&host.parse().unwrap(), output.into()).unwrap();
        }
        gather
    }

    #[test]
    fn equal_output_is_told_once_under_its_hosts() {
        insta::assert_snapshot!(String::from_utf8(gathered().told()).unwrap(), @"
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
        assert_eq!(Gather::default().told(), b"");
    }

    #[test]
    fn other_output_is_told_by_its_difference() {
        let mut gather = gathered();
        gather.outputs.remove(&b"no end"[..]);
        insta::assert_snapshot!(String::from_utf8(gather.differences()).unwrap(), @"
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
        assert_eq!(Gather::default().differences(), b"");
    }
}
