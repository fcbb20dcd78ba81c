//! Entries for fuzzers to target expressions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use lariat_base::name::HostName;

use super::{RemotePath, Targets, fold, natural};

/// Reads a text as a target, as a path on hosts, and as a list of names to fold.
///
/// # Panics
/// When a folded list stands for other names.
pub fn targets(bytes: &[u8]) {
    let _ = RemotePath::parse(OsStr::from_bytes(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(targets) = text.parse::<Targets>() {
        assert_eq!(targets.to_string(), text);
        let _ = (targets.plain(), targets.quoted());
    }
    let hosts = text.split_whitespace().filter_map(|word| word.parse::<HostName>().ok());
    let mut hosts: Vec<String> = hosts.map(|host| host.to_string()).collect();
    if hosts.is_empty() {
        return;
    }
    hosts.sort_by(|a, b| natural(a, b));
    hosts.dedup();
    let folded = fold(hosts.iter().map(String::as_str));
    let targets: Targets = folded.parse().expect("a folded list is a target");
    let mut names = targets.names().expect("it is made of names and ranges");
    names.sort_by(|a, b| natural(a, b));
    assert_eq!(names, hosts, "{folded}");
}
