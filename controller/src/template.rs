//! Texts with the placeholder `{host}` for the host's name: destinations, sources of plans, `--out`, words.
//!
//! `{{` and `}}` stand for braces. Any other word in braces is an error, and so is a brace without the other: they
//! would create the same unintended directory on every host.

use lariat_base::escape::escape;
use lariat_base::name::HostName;

use crate::error::CliError;

/// The name of the placeholder.
const HOST: &[u8] = b"host";

/// A text that may differ per host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Host,
}

impl Template {
    /// Parses a text; an unknown word in braces is an error, and so is a brace without the other.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, CliError> {
        let mut template = Self { parts: Vec::new() };
        let (mut left, mut open) = (text, 0_usize);
        while let Some(at) = left.iter().position(|byte| matches!(byte, b'{' | b'}')) {
            template.push(&left[..at]);
            let (brace, rest) = (left[at], &left[at + 1..]);
            if rest.first() == Some(&brace) {
                template.push(&[brace]);
                left = &rest[1..];
                continue;
            }
            match word(brace, rest) {
                Some(HOST) => {
                    template.parts.push(Part::Host);
                    left = &rest[HOST.len() + 1..];
                }
                Some(unknown) => return Err(unknown_word(text, unknown)),
                None => {
                    open = match brace {
                        b'{' => open + 1,
                        _ => open.checked_sub(1).ok_or_else(|| lone_brace(text, '}'))?,
                    };
                    template.push(&[brace]);
                    left = rest;
                }
            }
        }
        if open > 0 {
            return Err(lone_brace(text, '{'));
        }
        template.push(left);
        Ok(template)
    }

    /// Parses shell text, which contains other braces: only `{host}` is replaced, and `{{host}}` stands for the
    /// text `{host}`.
    pub(crate) fn of_shell(text: &[u8]) -> Self {
        let mut template = Self { parts: Vec::new() };
        let mut left = text;
        while let Some(at) = left.windows(6).position(|window| window == b"{host}") {
            let doubled = left[..at].ends_with(b"{") && left[at + 6..].starts_with(b"}");
            if doubled {
                template.push(&left[..at - 1]);
                template.push(b"{host}");
                left = &left[at + 7..];
            } else {
                template.push(&left[..at]);
                template.parts.push(Part::Host);
                left = &left[at + 6..];
            }
        }
        template.push(left);
        template
    }

    /// A text without placeholders.
    pub(crate) fn plain(text: &[u8]) -> Self {
        let mut template = Self { parts: Vec::new() };
        template.push(text);
        template
    }

    fn push(&mut self, text: &[u8]) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.extend_from_slice(text),
            _ => self.parts.push(Part::Text(text.to_vec())),
        }
    }

    /// Whether it differs per host.
    pub(crate) fn names_host(&self) -> bool {
        self.parts.contains(&Part::Host)
    }

    /// The text, with its placeholders unreplaced.
    pub(crate) fn text(&self) -> Vec<u8> {
        let text =
            |part: &Part| if let Part::Text(text) = part { text.clone() } else { Vec::new() };
        self.parts.iter().flat_map(text).collect()
    }

    /// The text for one host.
    pub(crate) fn for_host(&self, host: &HostName) -> Vec<u8> {
        let mut text = Vec::new();
        for part in &self.parts {
            text.extend_from_slice(match part {
                Part::Text(part) => part,
                Part::Host => host.as_str().as_bytes(),
            });
        }
        text
    }
}

/// The letters between an opening and a closing brace, if there is nothing else between them.
fn word(brace: u8, rest: &[u8]) -> Option<&[u8]> {
    let letters = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let end = rest.iter().position(|byte| !letters(byte))?;
    (brace == b'{' && end > 0 && rest[end] == b'}').then(|| &rest[..end])
}

fn lone_brace(text: &[u8], brace: char) -> CliError {
    let (text, other) = (escape(text), if brace == '{' { '}' } else { '{' });
    CliError::new(format!(
        "{text}: a {brace} without {other}; {{host}} is the host's name, {brace}{brace} means the text {brace}"
    ))
}

fn unknown_word(text: &[u8], word: &[u8]) -> CliError {
    let (text, word) = (escape(text), escape(word));
    CliError::new(format!(
        "{text}: unknown placeholder {{{word}}}; {{host}} is the host's name, {{{{{word}}}}} means the text \
         {{{word}}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &[u8]) -> Vec<u8> {
        Template::parse(text).unwrap().for_host(&"web1".parse().unwrap())
    }

    #[test]
    fn the_placeholder_is_replaced_everywhere() {
        assert_eq!(made(b"/backup/{host}/{host}.sql"), b"/backup/web1/web1.sql");
        assert_eq!(made(b"{host}"), b"web1");
        assert_eq!(made(b""), b"");
        assert!(Template::parse(b"a{host}").unwrap().names_host());
        for text in [&b"{{host}}"[..], b"host", b"{}"] {
            assert!(!Template::parse(text).unwrap().names_host());
        }
    }

    #[test]
    fn doubled_braces_are_braces_and_other_braces_stay() {
        assert_eq!(made(b"{{host}}"), b"{host}");
        assert_eq!(made(b"{{{host}}}"), b"{web1}");
        assert_eq!(made(b"{{}}{{x"), b"{}{x");
        for same in [&b"{}"[..], b"{1}", b"{a,b}", b"{a{1}b}", b"{ host}", b"\xff{-}"] {
            assert_eq!(made(same), same);
        }
    }

    #[test]
    fn a_lone_brace_is_refused() {
        let error = |text: &str| Template::parse(text.as_bytes()).unwrap_err().line();
        insta::assert_snapshot!(error("/x/{host"), @"/x/{host: a { without }; {host} is the host's name, {{ means the text {");
        insta::assert_snapshot!(error("host}/x"), @"host}/x: a } without {; {host} is the host's name, }} means the text }");
        for text in ["a{b", "a}b", "}{", "{-}-}", "{host}}x}", "{{{-"] {
            assert!(error(text).contains(" without "), "{text}");
        }
    }

    #[test]
    fn an_unknown_word_is_refused() {
        for text in [&b"/x/{hsot}"[..], b"{HOST}", b"{{{hosts}}}", b"{host}{name}", b"{host_name}"]
        {
            let error = Template::parse(text).unwrap_err().line();
            assert!(error.contains("unknown placeholder {"), "{error}");
        }
        let error = Template::parse(b"/x/{hsot}").unwrap_err().line();
        insta::assert_snapshot!(error, @"/x/{hsot}: unknown placeholder {hsot}; {host} is the host's name, {{hsot}} means the text {hsot}");
    }

    #[test]
    fn shell_braces_stay() {
        let made = |text: &[u8]| Template::of_shell(text).for_host(&"web1".parse().unwrap());
        assert_eq!(made(b"echo ${HOME} {host} {{.Names}}"), b"echo ${HOME} web1 {{.Names}}");
        assert_eq!(made(b"echo {{host}} {print}"), b"echo {host} {print}");
        assert_eq!(made(b"{{host}"), b"{web1");
    }
}
