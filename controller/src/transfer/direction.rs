//! Notices a push that was meant as a pull, and the other way round.

use std::ffi::{OsStr, OsString};

use lariat_base::escape::escape;
use std::os::unix::ffi::OsStrExt;

use crate::error::CliError;
use crate::shell_word::shell_word;
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
    let words: Vec<String> =
        words.iter().map(|word| shell_word(&escape(word.as_bytes()))).collect();
    CliError::new(format!("{verb} {does}, which come {side}"))
        .hint(format!("lariat {opposite} {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
