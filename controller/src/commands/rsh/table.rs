//! The options of ssh: one table of their letters, their names behind `-o`, and what they mean here.

/// What an option does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing, and that harms nobody: it is about ssh's login, its own output, or what lariat does anyway.
    Ignored,
    /// It would change where the connection goes, or what may be reached by it: refused, but for these values.
    Refused(&'static [&'static str]),
    /// It has a value here.
    Set(Setting),
}

/// The options that have a meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    ClearForwards,
    ConnectTimeout,
    Control,
    Dynamic,
    Explain,
    IdentitiesOnly,
    Identity,
    Jump,
    Local,
    LogLevel,
    NoStdin,
    Pipe,
    Port,
    Remote,
    SendEnv,
    Session,
    SetEnv,
    Terminal,
    User,
    Version,
}

/// One option.
#[derive(Debug)]
pub(super) struct Row {
    /// The letter, if it has one.
    pub(super) letter: Option<u8>,
    /// The value that the letter stands for; `None` if it takes an argument.
    pub(super) stands_for: Option<&'static str>,
    /// The name behind `-o`, in lower case. One that begins with a dash stands for an option without a name.
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// A letter that stands for a value.
const fn flag(letter: u8, name: &'static str, value: &'static str, meaning: Meaning) -> Row {
    Row { letter: Some(letter), stands_for: Some(value), name, meaning }
}

/// A letter that takes an argument.
const fn with(letter: u8, name: &'static str, meaning: Meaning) -> Row {
    Row { letter: Some(letter), stands_for: None, name, meaning }
}

/// An option without a letter.
const fn named(name: &'static str, meaning: Meaning) -> Row {
    Row { letter: None, stands_for: None, name, meaning }
}

use Meaning::{Ignored, Refused, Set};

/// Any value is refused.
const REFUSED: Meaning = Refused(&[]);

/// Values by which an option asks for nothing.
const UNLESS_ASKED: Meaning = Refused(&["no", "none", "false"]);

/// All options that are known. Names that are not here are ignored: programs name many that concern ssh's login alone.
pub(super) const TABLE: &[Row] = &[
    flag(b'1', "protocol", "1", REFUSED),
    flag(b'2', "-2", "", Ignored),
    flag(b'4', "addressfamily", "inet", Ignored),
    flag(b'6', "addressfamily", "inet6", Ignored),
    flag(b'A', "forwardagent", "yes", Ignored),
    flag(b'a', "forwardagent", "no", Ignored),
    with(b'B', "bindinterface", REFUSED),
    with(b'b', "bindaddress", REFUSED),
    flag(b'C', "compression", "yes", Ignored),
    with(b'c', "ciphers", Ignored),
    with(b'D', "dynamicforward", Set(Setting::Dynamic)),
    with(b'E', "-E", Ignored),
    with(b'e', "escapechar", Ignored),
    with(b'F', "-F", Ignored),
    flag(b'f', "forkafterauthentication", "yes", UNLESS_ASKED),
    flag(b'G', "-G", "", Set(Setting::Explain)),
    flag(b'g', "gatewayports", "yes", UNLESS_ASKED),
    with(b'I', "pkcs11provider", UNLESS_ASKED),
    with(b'i', "identityfile", Set(Setting::Identity)),
    with(b'J', "proxyjump", Set(Setting::Jump)),
    flag(b'K', "gssapiauthentication", "yes", Ignored),
    flag(b'k', "gssapidelegatecredentials", "no", Ignored),
    with(b'L', "localforward", Set(Setting::Local)),
    with(b'l', "user", Set(Setting::User)),
    flag(b'M', "controlmaster", "yes", Ignored),
    with(b'm', "macs", Ignored),
    flag(b'N', "sessiontype", "none", Set(Setting::Session)),
    flag(b'n', "stdinnull", "yes", Set(Setting::NoStdin)),
    with(b'O', "-O", Set(Setting::Control)),
    with(b'P', "tag", Ignored),
    with(b'p', "port", Set(Setting::Port)),
    with(b'Q', "-Q", REFUSED),
    flag(b'q', "loglevel", "quiet", Set(Setting::LogLevel)),
    with(b'R', "remoteforward", Set(Setting::Remote)),
    with(b'S', "controlpath", Ignored),
    flag(b's', "sessiontype", "subsystem", Set(Setting::Session)),
    flag(b'T', "requesttty", "no", Set(Setting::Terminal)),
    flag(b't', "requesttty", "yes", Set(Setting::Terminal)),
    flag(b'V', "-V", "", Set(Setting::Version)),
    flag(b'v', "loglevel", "verbose", Set(Setting::LogLevel)),
    with(b'W', "-W", Set(Setting::Pipe)),
    with(b'w', "tunnel", UNLESS_ASKED),
    flag(b'X', "forwardx11", "yes", UNLESS_ASKED),
    flag(b'x', "forwardx11", "no", UNLESS_ASKED),
    flag(b'Y', "forwardx11trusted", "yes", UNLESS_ASKED),
    flag(b'y', "-y", "", Ignored),
    named("clearallforwardings", Set(Setting::ClearForwards)),
    named("connecttimeout", Set(Setting::ConnectTimeout)),
    named("hostname", REFUSED),
    named("identitiesonly", Set(Setting::IdentitiesOnly)),
    named("proxycommand", UNLESS_ASKED),
    named("remotecommand", UNLESS_ASKED),
    named("sendenv", Set(Setting::SendEnv)),
    named("setenv", Set(Setting::SetEnv)),
];

/// The option of a letter.
pub(super) fn lettered(letter: u8) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.letter == Some(letter))
}

/// The option of a name behind `-o`, in lower case.
pub(super) fn meaning(name: &str) -> Meaning {
    let row = TABLE.iter().find(|row| row.name == name && !name.starts_with('-'));
    row.map_or(Ignored, |row| row.meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_stands_in_it_once_and_a_name_means_one_thing() {
        for (at, row) in TABLE.iter().enumerate() {
            for other in &TABLE[..at] {
                assert!(row.letter.is_none() || row.letter != other.letter, "{row:?}");
                assert!(row.name != other.name || row.meaning == other.meaning, "{row:?}");
            }
            assert!(row.name.starts_with('-') || row.name == row.name.to_lowercase(), "{row:?}");
        }
        // What the manual promises.
        for letter in *b"WLRDNTtJoplFiqvnsxaAC462GVSMOE" {
            if letter != b'o' {
                let row = lettered(letter).unwrap_or_else(|| panic!("{}", char::from(letter)));
                assert!(!matches!(row.meaning, Refused([])), "{row:?}");
            }
        }
    }
}
