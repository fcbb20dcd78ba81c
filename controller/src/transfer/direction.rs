//! Notices a push that was meant as a pull, the other way round, and a copy from host to host.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lariat_client::transfer::is_contents;

use crate::error::CliError;
use crate::shell_word::quoted;
use crate::target::{BadRemotePath, RemotePath};

/// The error of `verb` for a word that is no `TARGET:PATH`. Where `other`, a word for a local path, is one, the other verb
/// was meant.
pub(crate) fn no_remote_path(
    error: BadRemotePath,
    (verb, opposite): (&str, &str),
    other: &OsStr,
    words: &[OsString],
) -> CliError {
    let is_remote = other.as_bytes().contains(&b':')
        && RemotePath::parse(other).is_ok()
        && std::fs::symlink_metadata(other).is_err();
    if !is_remote || !matches!(error, BadRemotePath::NoPath(_)) {
        return error.into();
    }
    let (side, does) =
        if verb == "push" { ("last", "sends to hosts") } else { ("first", "fetches from hosts") };
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    CliError::new(format!("{verb} {does}, which come {side}"))
        .hint(format!("lariat {opposite} {}", words.join(" ")))
}

/// Refuses sources of a push that are empty, or on hosts, which is what they are unless there are local files of these names.
pub(crate) fn check_local(sources: &[OsString], dest: &OsStr) -> Result<(), CliError> {
    let is_remote = |source: &&OsString| {
        source.as_bytes().contains(&b':')
            && std::fs::symlink_metadata(source).is_err()
            && RemotePath::parse(source).is_ok()
    };
    if sources.iter().any(|source| source.is_empty()) {
        let error = CliError::new("push: a source is empty");
        return Err(error.hint("./, for what is in the working directory"));
    }
    let Some(source) = sources.iter().find(is_remote) else { return Ok(()) };
    Err(between_hosts("push sends files of this machine", source, dest))
}

/// Refuses the destination of a pull that is on a host.
pub(crate) fn check_local_dest(
    dest: &OsStr,
    sources: &[OsString],
    is_host: impl FnOnce(&RemotePath) -> bool,
) -> Result<(), CliError> {
    let there = RemotePath::parse(dest).ok();
    let is_remote = dest.as_bytes().contains(&b':') && std::fs::symlink_metadata(dest).is_err();
    match (there.filter(|_| is_remote), sources) {
        (Some(remote), [source, ..]) if is_host(&remote) => {
            Err(between_hosts("pull fetches to this machine", source, dest))
        }
        _ => Ok(()),
    }
}

/// The error for a copy from host to host.
fn between_hosts(does: &str, source: &OsStr, dest: &OsStr) -> CliError {
    let path = source.as_bytes().splitn(2, |&byte| byte == b':').nth(1).unwrap_or_default();
    let mut names = path.split(|&byte| byte == b'/').filter(|name| !matches!(name, [] | [b'.']));
    let name = names.next_back().filter(|name| *name != b"..").unwrap_or(b"copy");
    // The contents of a directory need a directory of their own here.
    let (here, again) = if is_contents(path) {
        (quoted(OsStr::from_bytes(name)), quoted(OsStr::from_bytes(&[name, b"/"].concat())))
    } else {
        (".".to_owned(), quoted(OsStr::from_bytes(name)))
    };
    let (source, dest) = (quoted(source), quoted(dest));
    CliError::new(format!("{does}, and both {source} and {dest} are on hosts"))
        .hint(format!("lariat pull {source} {here} && lariat push {again} {dest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_from_host_to_host_is_told_in_two_steps() {
        let push = |source: &str, dest: &str| {
            check_local(&["/etc/hosts".into(), source.into()], OsStr::new(dest)).unwrap_err().line()
        };
        insta::assert_snapshot!(push("web1:/a/", "web2:/b"), @"push sends files of this machine, and both web1:/a/ and web2:/b are on hosts; try: lariat pull web1:/a/ a && lariat push a/ web2:/b");
        insta::assert_snapshot!(push("web1:/srv/x y", "web2:"), @"push sends files of this machine, and both 'web1:/srv/x y' and web2: are on hosts; try: lariat pull 'web1:/srv/x y' . && lariat push 'x y' web2:");
        insta::assert_snapshot!(push("web1:..", "web2:"), @"push sends files of this machine, and both web1:.. and web2: are on hosts; try: lariat pull web1:.. copy && lariat push copy/ web2:");
        for local in ["./web1:x", "a/b:c", "x", "-"] {
            assert!(check_local(&[local.into()], OsStr::new("web2:")).is_ok(), "{local}");
        }
        let pull = |dest: &str, is_host| {
            check_local_dest(OsStr::new(dest), &["web1:/a".into()], |_| is_host)
        };
        insta::assert_snapshot!(pull("web2:/b", true).unwrap_err().line(), @"pull fetches to this machine, and both web1:/a and web2:/b are on hosts; try: lariat pull web1:/a . && lariat push a web2:/b");
        assert!(pull("web2:/b", false).is_ok() && pull("./web2:/b", true).is_ok());
    }

    fn said(verbs: (&str, &str), bad: &str, other: &str, words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let error = RemotePath::parse(OsStr::new(bad)).unwrap_err();
        no_remote_path(error, verbs, OsStr::new(other), &words).line()
    }

    #[test]
    fn the_other_verb_is_named_where_it_is_meant() {
        let push = ("push", "pull");
        insta::assert_snapshot!(said(push, "f", "web1:/tmp/", &["web1:/tmp/", "f"]), @"push sends to hosts, which come last; try: lariat pull web1:/tmp/ f");
        insta::assert_snapshot!(said(("pull", "push"), "a b", "web1:x", &["a b", "web1:x"]), @"pull fetches from hosts, which come first; try: lariat push 'a b' web1:x");
        insta::assert_snapshot!(said(push, "web1", "f", &["f", "web1"]), @r#""web1" is not TARGET:PATH; did you mean web1: (the home directory) or web1:/PATH?"#);
        insta::assert_snapshot!(said(push, "/srv/x", "f", &["f", "/srv/x"]), @r#""/srv/x" is not TARGET:PATH, such as web1:/srv/app"#);
    }
}
