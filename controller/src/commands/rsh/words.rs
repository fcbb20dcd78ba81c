//! Parses ssh's command line, as far as programs that start ssh use it. No I/O.
//!
//! [`super::table`] says what each option means here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use lariat_base::escape::escape;

use super::option::{BadOption, Control, Options, Session};
use super::table::lettered;
use crate::forward::Place;
use crate::target::{BadTargets, Chosen, Targets};

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The host and the user.
    pub(super) target: Chosen,
    /// The requested action.
    pub(super) wish: Wish,
    /// The values of the options.
    pub(super) options: Options,
}

/// The requested action.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Run this line with a shell.
    Line(Vec<u8>),
    /// Open a shell.
    Shell,
    /// Serve files over sftp.
    Sftp,
    /// Forward ports, and nothing else (`-N`).
    Nothing,
    /// Connect stdin and stdout to a place that the host reaches (`-W`).
    Pipe(Place),
    /// Print the host's configuration (`-G`).
    Explain,
    /// About the connection that ssh would share (`-O`).
    Control(Control),
}

/// A command line, as far as it goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// `-V`
    Version,
    /// A host is called.
    Call(Box<Call>),
}

/// Why a command line is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadCall {
    /// An option that ssh does not have.
    #[error("there is no option {0}")]
    Unknown(String),
    /// The argument of an option is missing.
    #[error("option -{0} needs an argument")]
    NoArgument(char),
    /// An option that makes no sense, or is not supported.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// An unknown subsystem.
    #[error("there is no subsystem {0:?} but sftp")]
    Subsystem(String),
    /// The host is missing.
    #[error("no host is given")]
    NoHost,
    /// The host's name is invalid.
    #[error(transparent)]
    Host(#[from] BadTargets),
    /// Several hosts.
    #[error("{0:?} names several hosts")]
    Several(String),
}

/// Parses ssh's arguments.
pub(super) fn parse(words: &[OsString]) -> Result<Parsed, BadCall> {
    let mut options = Options::default();
    let rest = take(&mut options, words)?;
    if options.version {
        return Ok(Parsed::Version);
    }
    let (host, rest) = rest.split_first().ok_or(BadCall::NoHost)?;
    // ssh also accepts options between the host and the command.
    let command = take(&mut options, rest)?;
    let several = || BadCall::Several(escape(host.as_bytes()));
    let mut target = host.to_string_lossy().parse::<Targets>()?.plain().ok_or_else(several)?;
    target.user = options.user.take().or(target.user);
    if options.no_forwards {
        options.forwards = crate::forward::Specs::default();
    }
    let line = command.join(OsStr::new(" ")).into_vec();
    let wish = match (options.control, options.pipe.take()) {
        (Some(control), _) => Wish::Control(control),
        _ if options.explain => Wish::Explain,
        (None, Some(place)) => Wish::Pipe(place),
        (None, None) => match (options.session, line.as_slice()) {
            (Session::None, _) => Wish::Nothing,
            (Session::Subsystem, b"sftp") => Wish::Sftp,
            (Session::Subsystem, other) => return Err(BadCall::Subsystem(escape(other))),
            (Session::Default, b"") => Wish::Shell,
            (Session::Default, _) => Wish::Line(line),
        },
    };
    Ok(Parsed::Call(Box::new(Call { target, wish, options })))
}

/// Takes the options at the beginning of these words. Returns the remaining words.
fn take<'a>(options: &mut Options, words: &'a [OsString]) -> Result<&'a [OsString], BadCall> {
    let mut rest = words;
    while let Some((word, behind)) = rest.split_first() {
        match word.as_bytes() {
            b"--" => return Ok(behind),
            [b'-', letters @ ..] if !letters.is_empty() => {
                rest = cluster(options, letters, behind)?;
            }
            _ => break,
        }
    }
    Ok(rest)
}

/// Takes one word of letters, the last of which may have an argument, in the same word or the next.
fn cluster<'a>(
    options: &mut Options,
    letters: &[u8],
    behind: &'a [OsString],
) -> Result<&'a [OsString], BadCall> {
    for (at, &letter) in letters.iter().enumerate() {
        let row = lettered(letter);
        if let Some(row) = row.filter(|row| row.stands_for.is_some()) {
            options.lettered(row, b"")?;
            continue;
        }
        if row.is_none() && letter != b'o' {
            return Err(BadCall::Unknown(escape(&[b"-", letters].concat())));
        }
        let inside = &letters[at + 1..];
        let (argument, rest) = match (inside, behind.split_first()) {
            ([], Some((next, rest))) => (next.as_bytes(), rest),
            ([], None) => return Err(BadCall::NoArgument(char::from(letter))),
            (inside, _) => (inside, behind),
        };
        match row {
            Some(row) => options.lettered(row, argument)?,
            None => options.named(argument)?,
        }
        return Ok(rest);
    }
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::option::Terminal;
    use super::*;

    fn call(words: &[&str]) -> Result<Call, BadCall> {
        match parse(&words.iter().map(OsString::from).collect::<Vec<_>>())? {
            Parsed::Call(call) => Ok(*call),
            Parsed::Version => panic!("{words:?}"),
        }
    }

    fn line(words: &[&str]) -> (String, String, bool) {
        let call = call(words).unwrap();
        let Wish::Line(line) = call.wish else { panic!("{:?}", call.wish) };
        let Chosen { host, user } = call.target;
        let target = user.map(|user| format!("{user}@")).unwrap_or_default() + host.as_str();
        (target, String::from_utf8(line).unwrap(), !call.options.no_stdin)
    }

    fn case(target: &str, line: &str, stdin: bool) -> (String, String, bool) {
        (target.to_owned(), line.to_owned(), stdin)
    }

    #[test]
    fn command_lines_of_real_programs() {
        let rsync = ["-l", "bob", "web1", "rsync", "--server", "-vlogDtpre.iLsfxCIvu", ".", "/a b"];
        let asked = "rsync --server -vlogDtpre.iLsfxCIvu . /a b";
        assert_eq!(line(&rsync), case("bob@web1", asked, true));
        let git = ["-o", "SendEnv=GIT_PROTOCOL", "bob@web1", "git-upload-pack '/srv/a.git'"];
        assert_eq!(line(&git), case("bob@web1", "git-upload-pack '/srv/a.git'", true));
        assert_eq!(call(&git).unwrap().options.send, ["GIT_PROTOCOL"]);
        assert_eq!(call(&["-G", "web1"]).unwrap().wish, Wish::Explain);
        let sshfs = ["-x", "-a", "-oClearAllForwardings=yes", "-2", "bob@web1", "-s", "sftp"];
        assert_eq!(call(&sshfs).unwrap().wish, Wish::Sftp);
        let scp = ["-xoForwardAgent=no", "-oRemoteCommand=none", "-l", "bob", "--", "web1"];
        let scp = [&scp[..], &["-s", "sftp"]].concat();
        assert_eq!(call(&scp).unwrap().wish, Wish::Sftp);
        let ansible = [
            "-C",
            "-o",
            "ControlMaster=auto",
            "-o",
            "ControlPersist=60s",
            "-o",
            "PreferredAuthentications=publickey",
            "-o",
            "User=\"root\"",
            "-o",
            "ControlPath=\"/root/.ansible/cp/8b\"",
            "-tt",
            "web1",
            "/bin/sh -c 'echo ~'",
        ];
        assert_eq!(line(&ansible), case("root@web1", "/bin/sh -c 'echo ~'", true));
        assert_eq!(call(&ansible).unwrap().options.terminal, Terminal::Force);
        let code = call(&["-T", "-D", "40123", "-o", "ConnectTimeout=15", "web1"]).unwrap();
        assert_eq!(code.wish, Wish::Shell);
        assert_eq!(code.options.terminal, Terminal::No);
        assert_eq!(code.options.forwards.dynamic.len(), 1);
        let proxy = call(&["-q", "-W", "db:22", "web1"]).unwrap();
        assert_eq!(proxy.wish, Wish::Pipe("db:22".parse().unwrap()));
        let stop = ["-o", "ControlPath=/x", "-O", "stop", "web1"];
        assert_eq!(call(&stop).unwrap().wish, Wish::Control(Control::End));
        let forward = call(&["-N", "-L", "80:db:80", "-R8080:localhost:80", "web1"]).unwrap();
        assert_eq!(forward.wish, Wish::Nothing);
        assert_eq!(
            (forward.options.forwards.local.len(), forward.options.forwards.remote.len()),
            (1, 1)
        );
        let cleared = ["-L", "80:db:80", "-oClearAllForwardings=yes", "web1", "id"];
        assert!(call(&cleared).unwrap().options.forwards.is_empty());
        assert_eq!(parse(&["-V".into()]), Ok(Parsed::Version));
    }

    #[test]
    fn options_precede_or_follow_the_host_and_end_at_the_command() {
        assert_eq!(line(&["-Tqn", "web1", "ls", "-t"]), case("web1", "ls -t", false));
        assert_eq!(line(&["web1", "-T", "--", "-t", "--"]), case("web1", "-t --", true));
        assert_eq!(
            line(&["-e", "none", "-lbob", "alice@web1", "id"]),
            case("bob@web1", "id", true)
        );
        assert_eq!(line(&["-oUser=eve", "alice@web1", "id"]), case("eve@web1", "id", true));
        assert_eq!(line(&["web1", "", "a", "", "b"]), case("web1", " a  b", true));
        for (words, terminal) in [
            (&["web1", "id"][..], Terminal::Auto),
            (&["-t", "web1", "id"], Terminal::Yes),
            (&["-tt", "web1", "id"], Terminal::Force),
            (&["-t", "-t", "web1", "id"], Terminal::Force),
            (&["-T", "web1", "id"], Terminal::No),
        ] {
            assert_eq!(call(words).unwrap().options.terminal, terminal, "{words:?}");
        }
    }

    #[test]
    fn unsupported_options_are_refused_by_name() {
        let refused = |what: &str| BadCall::Option(BadOption::Refused(what.into()));
        for (words, error) in [
            (&["-f", "web1", "x"][..], refused("-f")),
            (&["-w", "0", "web1", "x"], refused("-w")),
            (&["-O", "forward", "web1"], refused("-O forward")),
            (&["-oHostName=x", "web1", "x"], refused("-o HostName")),
            (&["-p", "x", "web1", "x"], BadCall::Option(BadOption::Value("-p".into(), "x".into()))),
            (&["-Z", "web1", "x"], BadCall::Unknown("-Z".into())),
            (&["--frob", "web1", "x"], BadCall::Unknown("--frob".into())),
            (&["-l"], BadCall::NoArgument('l')),
            (&["-T"], BadCall::NoHost),
            (&[], BadCall::NoHost),
            (&["web1", "-s", "netconf"], BadCall::Subsystem("netconf".into())),
        ] {
            assert_eq!(call(words), Err(error), "{words:?}");
        }
        assert!(matches!(call(&["web[1-2]", "x"]), Err(BadCall::Several(_))));
        assert!(matches!(call(&["Web", "x"]), Err(BadCall::Host(_))));
        assert!(matches!(call(&["-L", "80", "web1", "x"]), Err(BadCall::Option(_))));
    }

    proptest! {
        #[test]
        fn any_words_are_a_call_or_an_error(words in prop::collection::vec("[-a-zA-Z0-9@ =:]{0,6}", 0..6)) {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let _ = parse(&words);
        }
    }
}
