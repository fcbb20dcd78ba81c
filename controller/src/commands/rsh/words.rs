//! ssh's command line, as far as programs that start ssh for somebody use it. No I/O.
//!
//! Options that change nothing here are taken and forgotten; those that ask for something that would
//! then not happen are refused, never passed over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use lariat_base::escape::escape;

use super::option::{BadOption, Options};
use crate::target::{BadTargets, Chosen, Targets};

/// Flags that change nothing here: how addresses are chosen, noise, forwarding that is off anyway, the
/// terminal that there is none of, compression, and the version of a protocol that this is not.
const HARMLESS: &[u8] = b"46aCkqTvx2";

/// Flags without an argument that ask for what this is not.
const REFUSED: &[u8] = b"1AfgKMNtVXYy";

/// Flags with an argument that ask for what this is not.
const REFUSED_WITH: &[u8] = b"BbDEFIiJLmcOPQRSWw";

/// What ssh would have been asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Where, and as whom.
    pub(super) target: Chosen,
    /// What.
    pub(super) wish: Wish,
    /// Whether stdin is the command's.
    pub(super) stdin: bool,
    /// What `-o` said.
    pub(super) options: Options,
}

/// What is to be done there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Run this line with a shell.
    Line(Vec<u8>),
    /// Serve files by the protocol of sftp.
    Sftp,
    /// Tell how the host would be reached (`-G`).
    Explain,
}

/// Why it can't be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCall {
    /// ssh would do it.
    #[error("ssh's option -{0} is not supported")]
    Refused(char),
    /// ssh itself has no such option.
    #[error("there is no option {0}")]
    Unknown(String),
    /// The argument of an option is missing.
    #[error("option -{0} needs an argument")]
    NoArgument(char),
    /// An `-o`.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// A subsystem that is none.
    #[error("there is no subsystem {0:?} but sftp")]
    Subsystem(String),
    /// Nowhere.
    #[error("no host is given")]
    NoHost,
    /// Somewhere, but no host.
    #[error(transparent)]
    Host(#[from] BadTargets),
    /// Several hosts.
    #[error("{0:?} names several hosts")]
    Several(String),
    /// Nothing to do.
    #[error("no command is given")]
    NoCommand,
}

/// What the flags say.
#[derive(Default)]
struct Flags {
    user: Option<String>,
    no_stdin: bool,
    subsystem: bool,
    explain: bool,
    options: Options,
}

impl Call {
    /// Reads what comes behind `lariat rsh`.
    pub(super) fn parse(words: &[OsString]) -> Result<Self, BadCall> {
        let mut flags = Flags::default();
        let rest = flags.take(words)?;
        let (host, rest) = rest.split_first().ok_or(BadCall::NoHost)?;
        // ssh takes options behind the host too, up to the command.
        let command = flags.take(rest)?;
        let several = || BadCall::Several(escape(host.as_bytes()));
        let mut target = host.to_string_lossy().parse::<Targets>()?.plain().ok_or_else(several)?;
        target.user = flags.user.or(flags.options.user.take()).or(target.user);
        let line = command.join(OsStr::new(" ")).into_vec();
        let wish = match (flags.explain, flags.subsystem, line.as_slice()) {
            (true, ..) => Wish::Explain,
            (_, _, b"") => return Err(BadCall::NoCommand),
            (_, true, b"sftp") => Wish::Sftp,
            (_, true, other) => return Err(BadCall::Subsystem(escape(other))),
            (..) => Wish::Line(line),
        };
        Ok(Self { target, wish, stdin: !flags.no_stdin, options: flags.options })
    }
}

impl Flags {
    /// Takes the options at the beginning of these words. Returns the words behind them.
    fn take<'a>(&mut self, words: &'a [OsString]) -> Result<&'a [OsString], BadCall> {
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            match word.as_bytes() {
                b"--" => return Ok(behind),
                [b'-', flags @ ..] if !flags.is_empty() => {
                    rest = self.cluster(flags, behind)?;
                }
                _ => break,
            }
        }
        Ok(rest)
    }

    /// Takes one word of flags, the last of which may have an argument: in the same word, or the next.
    fn cluster<'a>(
        &mut self,
        flags: &[u8],
        behind: &'a [OsString],
    ) -> Result<&'a [OsString], BadCall> {
        for (at, &flag) in flags.iter().enumerate() {
            let name = char::from(flag);
            match flag {
                b'n' => self.no_stdin = true,
                b's' => self.subsystem = true,
                b'G' => self.explain = true,
                b'l' | b'o' | b'e' | b'p' => {
                    let inside = &flags[at + 1..];
                    let (argument, rest) = match (inside, behind.split_first()) {
                        ([], Some((next, rest))) => (next.as_bytes(), rest),
                        ([], None) => return Err(BadCall::NoArgument(name)),
                        (inside, _) => (inside, behind),
                    };
                    self.with(flag, argument)?;
                    return Ok(rest);
                }
                _ if HARMLESS.contains(&flag) => {}
                _ if REFUSED.contains(&flag) || REFUSED_WITH.contains(&flag) => {
                    return Err(BadCall::Refused(name));
                }
                _ => return Err(BadCall::Unknown(escape(&[b"-", flags].concat()))),
            }
        }
        Ok(behind)
    }

    fn with(&mut self, flag: u8, argument: &[u8]) -> Result<(), BadCall> {
        match flag {
            // As in ssh, what is said first counts.
            b'l' => {
                let name = String::from_utf8_lossy(argument).into_owned();
                self.user.get_or_insert(name);
            }
            b'o' => self.options.take(argument)?,
            b'p' => self.options.take(&[b"Port=", argument].concat())?,
            // Where there is no terminal there is nothing to escape from.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(words: &[&str]) -> Result<Call, BadCall> {
        Call::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn line(words: &[&str]) -> (String, String, bool) {
        let call = parse(words).unwrap();
        let Wish::Line(line) = call.wish else { panic!("{:?}", call.wish) };
        let Chosen { host, user } = call.target;
        let target = user.map(|user| format!("{user}@")).unwrap_or_default() + host.as_str();
        (target, String::from_utf8(line).unwrap(), call.stdin)
    }

    fn case(target: &str, line: &str, stdin: bool) -> (String, String, bool) {
        (target.to_owned(), line.to_owned(), stdin)
    }

    #[test]
    fn what_real_programs_ask_for() {
        let rsync = ["-l", "bob", "web1", "rsync", "--server", "-vlogDtpre.iLsfxCIvu", ".", "/a b"];
        let asked = "rsync --server -vlogDtpre.iLsfxCIvu . /a b";
        assert_eq!(line(&rsync), case("bob@web1", asked, true));
        let git = ["-o", "SendEnv=GIT_PROTOCOL", "bob@web1", "git-upload-pack '/srv/a.git'"];
        assert_eq!(line(&git), case("bob@web1", "git-upload-pack '/srv/a.git'", true));
        assert_eq!(parse(&git).unwrap().options.send, ["GIT_PROTOCOL"]);
        assert_eq!(parse(&["-G", "web1"]).unwrap().wish, Wish::Explain);
        let sshfs = ["-x", "-a", "-oClearAllForwardings=yes", "-2", "bob@web1", "-s", "sftp"];
        assert_eq!(parse(&sshfs).unwrap().wish, Wish::Sftp);
        let scp = ["-xoForwardAgent=no", "-oRemoteCommand=none", "-l", "bob", "--", "web1"];
        let scp = [&scp[..], &["-s", "sftp"]].concat();
        assert_eq!(parse(&scp).unwrap().wish, Wish::Sftp);
    }

    #[test]
    fn options_stand_before_and_behind_the_host_and_end_at_the_command() {
        assert_eq!(line(&["-Tqn", "web1", "ls", "-t"]), case("web1", "ls -t", false));
        assert_eq!(line(&["web1", "-T", "--", "-t", "--"]), case("web1", "-t --", true));
        assert_eq!(
            line(&["-e", "none", "-lbob", "alice@web1", "id"]),
            case("bob@web1", "id", true)
        );
        assert_eq!(line(&["-oUser=eve", "alice@web1", "id"]), case("eve@web1", "id", true));
        assert_eq!(line(&["web1", "", "a", "", "b"]), case("web1", " a  b", true));
    }

    #[test]
    fn what_would_not_happen_is_refused_by_name() {
        for (words, error) in [
            (&["-t", "web1", "vi"][..], BadCall::Refused('t')),
            (&["-qL", "1:h:2", "web1", "x"], BadCall::Refused('L')),
            (
                &["-p", "x", "web1", "x"],
                BadCall::Option(BadOption::Value("Port".into(), "x".into())),
            ),
            (&["-Z", "web1", "x"], BadCall::Unknown("-Z".into())),
            (&["--frob", "web1", "x"], BadCall::Unknown("--frob".into())),
            (&["-l"], BadCall::NoArgument('l')),
            (&["-T"], BadCall::NoHost),
            (&[], BadCall::NoHost),
            (&["web1"], BadCall::NoCommand),
            (&["web1", "-s", "netconf"], BadCall::Subsystem("netconf".into())),
        ] {
            assert_eq!(parse(words), Err(error), "{words:?}");
        }
        assert!(matches!(parse(&["web[1-2]", "x"]), Err(BadCall::Several(_))));
        assert!(matches!(parse(&["Web", "x"]), Err(BadCall::Host(_))));
        assert!(matches!(parse(&["-oProxyJump=x", "web1", "x"]), Err(BadCall::Option(_))));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_call_or_an_error(words in prop::collection::vec("[-a-zA-Z0-9@ =]{0,6}", 0..6)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = parse(&words);
        }
    }
}
