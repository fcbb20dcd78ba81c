//! Patterns of commands: one for each word of an argv.
//!
//! `*` matches bytes of one path component. `{a,b}` is one of these texts. A last word `..` stands for any more
//! words that are no options, `-..` for any more words. Everything else stands for itself. An argument that is empty is
//! matched by the empty word alone, whatever the alternatives of another.

use memchr::memmem;

use super::path;

/// Most texts that the alternatives of one word may stand for.
const MAX_ALTERNATIVES: usize = 64;

/// A pattern for a whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The words as they were written.
    pub written: Vec<String>,
    words: Vec<Word>,
    rest: Rest,
}

/// What may follow the words of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    NoOptions,
    Anything,
}

/// The texts that a word may be, each of which may have wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word(Vec<Vec<u8>>);

/// Where a command departs from a pattern. Words are counted from 1, the program being the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// This word is another.
    #[error("word {0} differs")]
    Differs(usize),
    /// The command ends before this word.
    #[error("word {0} is missing")]
    Missing(usize),
    /// The pattern ends before this word.
    #[error("word {0} is one too many")]
    TooMany(usize),
}

impl Mismatch {
    /// The word.
    pub fn word(self) -> usize {
        match self {
            Self::Differs(word) | Self::Missing(word) | Self::TooMany(word) => word,
        }
    }
}

/// Why a list of words is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It has no words.
    #[error("a pattern has at least one word, the program")]
    Empty,
    /// Its first word is not a path that a program can be found under.
    #[error("a pattern begins with the program's absolute path, without '.', '..' or '//'")]
    Program,
    /// A word stands for too many texts.
    #[error("over {MAX_ALTERNATIVES} alternatives in a word")]
    Alternatives,
    /// No argument has a NUL byte.
    #[error("a NUL byte in a word")]
    Nul,
}

impl Pattern {
    /// Parses the words of a pattern.
    pub fn new(written: Vec<String>) -> Result<Self, BadPattern> {
        let (rest, count) = match written.last().map(String::as_str) {
            Some("..") => (Rest::NoOptions, written.len() - 1),
            Some("-..") => (Rest::Anything, written.len() - 1),
            _ => (Rest::Nothing, written.len()),
        };
        let words: Vec<Word> =
            written[..count].iter().map(|word| Word::new(word)).collect::<Result<_, _>>()?;
        let Word(programs) = words.first().ok_or(BadPattern::Empty)?;
        if !programs.iter().all(|program| path::is_plain(program) && program.len() > 1) {
            return Err(BadPattern::Program);
        }
        Ok(Self { written, words, rest })
    }

    /// Compares a command: the program as it was looked up, and the words behind it.
    pub fn compare(&self, program: &[u8], arguments: &[Vec<u8>]) -> Result<(), Mismatch> {
        let mut given = std::iter::once(program).chain(arguments.iter().map(Vec::as_slice));
        for (number, word) in (1..).zip(&self.words) {
            match given.next() {
                None => return Err(Mismatch::Missing(number)),
                Some(text) if !word.is(text) => return Err(Mismatch::Differs(number)),
                Some(_) => {}
            }
        }
        for (number, text) in (self.words.len() + 1..).zip(given) {
            match self.rest {
                Rest::Nothing => return Err(Mismatch::TooMany(number)),
                Rest::NoOptions if text.first() == Some(&b'-') || path::has_dots(text) => {
                    return Err(Mismatch::Differs(number));
                }
                Rest::Anything if path::has_dots(text) => return Err(Mismatch::Differs(number)),
                Rest::NoOptions | Rest::Anything => {}
            }
        }
        Ok(())
    }

    /// The programs that it names, with their wildcards.
    pub fn programs(&self) -> impl Iterator<Item = &[u8]> {
        self.words.first().into_iter().flat_map(|Word(texts)| texts.iter().map(Vec::as_slice))
    }

    /// The first word, from 1, that no text can match.
    pub fn never(&self) -> Option<usize> {
        let never = |text: &Vec<u8>| text.contains(&b'*') && path::has_dots(text);
        let is_never = |word: &Word| {
            !word.is_empty() && word.0.iter().all(|text| text.is_empty() || never(text))
        };
        let at = self.words.iter().position(is_never)?;
        Some(at + 1)
    }

    /// Whether any options may follow its words.
    pub fn takes_any_options(&self) -> bool {
        self.rest == Rest::Anything
    }
}

impl Word {
    fn new(written: &str) -> Result<Self, BadPattern> {
        if written.contains('\0') {
            return Err(BadPattern::Nul);
        }
        let mut texts = vec![Vec::new()];
        let mut left = written;
        while let Some((before, alternatives, after)) = group(left) {
            let mut more = Vec::new();
            for text in &texts {
                for alternative in alternatives.split(',') {
                    if more.len() == MAX_ALTERNATIVES {
                        return Err(BadPattern::Alternatives);
                    }
                    more.push([text, before.as_bytes(), alternative.as_bytes()].concat());
                }
            }
            (texts, left) = (more, after);
        }
        texts.iter_mut().for_each(|text| text.extend_from_slice(left.as_bytes()));
        Ok(Self(texts))
    }

    /// Whether it is the empty word itself, and not one with an empty alternative.
    fn is_empty(&self) -> bool {
        matches!(self.0.as_slice(), [text] if text.is_empty())
    }

    fn is(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            return self.is_empty();
        }
        self.0.iter().any(|glob| is_match(glob, text))
    }
}

/// The first `{a,b}` of a word, without its braces, and what is before and behind it.
fn group(word: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let close = from + word[from..].find('}')?;
        if let Some(open) = word[from..close].rfind('{').map(|at| from + at)
            && word[open..close].contains(',')
        {
            return Some((&word[..open], &word[open + 1..close], &word[close + 1..]));
        }
        from = close + 1;
    }
}

/// Whether a text matches. A wildcard matches neither `/` nor a leading `-`, and never a whole component that is
/// empty, `.` or `..`.
fn is_match(glob: &[u8], text: &[u8]) -> bool {
    if !glob.contains(&b'*') {
        return glob == text;
    }
    if glob[0] == b'*' && text.first() == Some(&b'-') || path::has_dots(text) {
        return false;
    }
    let slash = |&byte: &u8| byte == b'/';
    let (mut ours, mut theirs) = (glob.split(slash), text.split(slash));
    loop {
        match (ours.next(), theirs.next()) {
            (Some(glob), Some(component)) if is_component(glob, component) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Each part goes where it is first found: a later place would leave no more to those behind it.
fn is_component(glob: &[u8], text: &[u8]) -> bool {
    let mut parts = glob.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(last) = parts.next_back() else { return glob == text };
    let inner = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let Some(mut inner) = inner.filter(|_| !text.is_empty()) else { return false };
    for part in parts {
        let Some(at) = memmem::find(inner, part) else { return false };
        inner = &inner[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(words: &[&str]) -> Result<Pattern, BadPattern> {
        Pattern::new(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn compare(words: &[&str], command: &[&str]) -> Result<(), Mismatch> {
        let arguments: Vec<Vec<u8>> =
            command[1..].iter().map(|word| word.as_bytes().to_vec()).collect();
        pattern(words).unwrap().compare(command[0].as_bytes(), &arguments)
    }

    fn is(word: &str, text: &str) -> bool {
        Word::new(word).unwrap().is(text.as_bytes())
    }

    #[test]
    fn a_word_stands_for_itself_but_for_stars_and_alternatives() {
        for (word, yes, no) in [
            ("a", &["a"][..], &["", "A", "ab", "*"][..]),
            ("*", &["a", "a b", "\u{e9}", "..."], &["", "-a", "a/b", "/", ".", ".."]),
            ("a*", &["a", "ab", "a-"], &["", "b", "a/", "a/b"]),
            ("*.log", &["x.log", ".log"], &["-x.log", "x/y.log", "x.logs"]),
            ("-*", &["-", "-a", "--all"], &["a", "-/"]),
            ("--out=*", &["--out=", "--out=x"], &["--out=/x", "--out", "-out="]),
            ("a*b*c", &["abc", "aXbYc", "abbc", "abcbc"], &["ac", "acb", "abX", "ab/bc"]),
            ("*ab*ab", &["abab", "ababab"], &["ab", "aba", "aab"]),
            ("a**b", &["ab", "aXb"], &["a/b"]),
            (
                "/srv/*",
                &["/srv/x", "/srv/..."],
                &["/srv/", "/srv", "/srv/x/y", "/srv/..", "/srv/."],
            ),
            ("/srv/*/x*", &["/srv/a/x", "/srv/a/xy"], &["/srv//x", "/srv/../x", "/srv/a/b/x"]),
            ("/a/../*", &[], &["/a/../x"]),
            ("{start,stop}", &["start", "stop"], &["", "start,stop", "{start,stop}"]),
            ("x{,y}", &["x", "xy"], &["y", ""]),
            ("{,x}", &["x"], &[""]),
            ("{,*}", &["x"], &["", "-x"]),
            ("{,}", &[], &["", ","]),
            ("{,}{,x}", &["x"], &[""]),
            ("{a,b}{c,d}", &["ac", "bd"], &["ab", "cd", "a"]),
            (
                "{web*,db}.service",
                &["web1.service", "db.service"],
                &["db1.service", "web/1.service"],
            ),
            ("{*,-v}", &["a", "-v"], &["-x", ""]),
            ("{a}", &["{a}"], &["a"]),
            ("{a,{b,c}}", &["{a,b}", "{a,c}"], &["a", "b"]),
            ("}{a,b}", &["}a", "}b"], &["a"]),
            ("{a,b", &["{a,b"], &["a"]),
            ("", &[""], &["a", " "]),
            ("[ab]?", &["[ab]?"], &["a", "ax"]),
        ] {
            for text in yes {
                assert!(is(word, text), "{word} {text}");
            }
            for text in no {
                assert!(!is(word, text), "{word} {text}");
            }
        }
        assert!(Word::new("*").unwrap().is(b"\xff\n"));
    }

    #[test]
    fn words_are_compared_in_order_and_the_first_that_differs_is_told() {
        let printf = ["/usr/bin/printf", "*", ".."];
        for command in [&["a"][..], &["a", "b"], &["a", "b", ""], &["%s", "/etc/passwd"]] {
            let command = [&["/usr/bin/printf"], command].concat();
            assert_eq!(compare(&printf, &command), Ok(()), "{command:?}");
        }
        for (command, mismatch) in [
            (&["/bin/printf", "a"][..], Mismatch::Differs(1)),
            (&["/usr/bin/printf"], Mismatch::Missing(2)),
            (&["/usr/bin/printf", "-v"], Mismatch::Differs(2)),
            (&["/usr/bin/printf", "a", "-v"], Mismatch::Differs(3)),
            (&["/usr/bin/printf", "a", "b", "../x"], Mismatch::Differs(4)),
        ] {
            assert_eq!(compare(&printf, command), Err(mismatch), "{command:?}");
        }
        let exact = ["/bin/id", "-u"];
        assert_eq!(compare(&exact, &["/bin/id", "-u"]), Ok(()));
        assert_eq!(compare(&exact, &["/bin/id", "-u", ""]), Err(Mismatch::TooMany(3)));
        let any = ["/bin/id", "-.."];
        assert_eq!(compare(&any, &["/bin/id", "-u", "--", "x"]), Ok(()));
        assert_eq!(compare(&any, &["/bin/id"]), Ok(()));
        assert_eq!(compare(&any, &["/bin/id", "a/.."]), Err(Mismatch::Differs(2)));
        let inner = ["/bin/id", "..", "x"];
        assert_eq!(compare(&inner, &["/bin/id", "..", "x"]), Ok(()), "it is the last word only");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [&[][..], &[".."], &["-.."]] {
            assert_eq!(pattern(bad), Err(BadPattern::Empty), "{bad:?}");
        }
        for bad in ["", "/", "ls", "*", "/bin/../x", "/bin//x", "/bin/", "./x", "{/bin/a,b}"] {
            assert_eq!(pattern(&[bad]), Err(BadPattern::Program), "{bad}");
        }
        assert_eq!(pattern(&["/x", "a\0"]), Err(BadPattern::Nul));
        let six = "{a,b}".repeat(6);
        assert!(pattern(&["/x", &six]).is_ok());
        assert_eq!(pattern(&["/x", &format!("{six}{{a,b}}")]), Err(BadPattern::Alternatives));
        let many = format!("{{{}}}", ["x"; 65].join(","));
        assert_eq!(pattern(&["/x", &many]), Err(BadPattern::Alternatives));
    }

    #[test]
    fn long_words_are_compared_in_linear_time() {
        let word = format!("{}b", "a*".repeat(500));
        let text = "a".repeat(1 << 20);
        let began = std::time::Instant::now();
        assert!(!is(&word, &text));
        let part = format!("*{}b*", "a".repeat(10_000));
        assert!(!is(&part, &text));
        assert!(began.elapsed().as_secs() < 10);
    }
}
