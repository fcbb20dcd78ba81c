//! `lariatd policy`: checks a keyring and tries its rules before they go live, on any machine.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lariat_base::escape::escape;
use lariat_base::os_error::io_error;
use lariat_base::toml_file::{self, BadContent};
use lariat_wire::protocol::exec::Command;
use lariat_wire::protocol::hypothetical;
use lariat_wire::protocol::metadata::Preserve;
use lariat_wire::protocol::request::{ConnectRequest, JobRequest, Request};
use lariat_wire::protocol::transfer::Overrides;
use serde::Deserialize;
use toml::Spanned;

use crate::config::Exec;
use crate::keyring::{Entry, Keyring, lint};
use crate::policy::networks::Peer;
use crate::policy::place::Reached;
use crate::policy::{Clock, Facts, acting_user, decide};
use crate::program;
use crate::user::User;

/// Exit code of verbs that judge, where they could not.
pub const NO_VERDICT: u8 = 255;

/// The rules permit what they should not, or do not permit what they should.
const NO: u8 = 1;

/// The port at which agents listen, if nothing else is configured.
const DEFAULT_PORT: u16 = 7433;

/// The user that agents run as, whose rights rules are about.
const OWN: &str = "root";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<Spanned<Case>>,
}

/// A request, and what the rules are expected to say of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The key's label or id.
    key: String,
    /// As `lariat can` takes it.
    action: Vec<String>,
    expect: Expected,
    /// Where the controller is. Without it the key's networks are not looked at.
    from: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allowed,
    Denied,
}

/// Checks a keyring's form, and looks for rules that do not do what they seem to.
pub fn check(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fail(err, &unreadable(path, &error)),
    };
    let keyring = match Keyring::parse(path, &text) {
        Ok(keyring) => keyring,
        Err(wrong) => {
            say(err, &wrong.to_string())?;
            return Ok(NO.into());
        }
    };
    let mut is_wrong = false;
    for finding in keyring.entries().flat_map(|key| lint(key)) {
        say(err, &format!("{}:{finding}", path.display()))?;
        is_wrong |= finding.is_error;
    }
    if is_wrong {
        return Ok(NO.into());
    }
    let count = keyring.entries().count();
    writeln!(out, "{}: {count} {}", escape_path(path), if count == 1 { "key" } else { "keys" })?;
    Ok(ExitCode::SUCCESS)
}

/// Tries the cases of a file.
pub fn test(
    keyring: &Path,
    cases: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitCode> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| unreadable(path, &error));
    let file = keyring.file_name().and_then(OsStr::to_str).unwrap_or("keyring.toml");
    let tried = read(keyring).and_then(|text| {
        let keyring = Keyring::parse(keyring, &text).map_err(|wrong| wrong.to_string())?;
        try_all((file, &keyring), cases, &read(cases)?).map_err(|wrong| wrong.to_string())
    });
    let (count, failed) = match tried {
        Ok(tried) => tried,
        Err(error) => return fail(err, &error),
    };
    for line in &failed {
        say(err, line)?;
    }
    writeln!(out, "{}: {} of {count} cases hold", escape_path(cases), count - failed.len())?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { NO.into() })
}

/// The number of cases, and what is to be said of those that do not hold.
fn try_all(
    (file, keyring): (&str, &Keyring),
    path: &Path,
    text: &str,
) -> Result<(usize, Vec<String>), BadContent> {
    let Cases { case: cases } = toml_file::parse(path, text)?;
    let mut failed = Vec::new();
    let count = cases.len();
    for case in cases {
        let wrong = |why: String| BadContent::at(path, text, case.span().start, &why);
        let Case { key, action, expect, from } = case.as_ref();
        let entry = keyring.named(key).map_err(|problem| wrong(format!("{key}: {problem}")))?;
        let request = request(action).map_err(&wrong)?;
        request.check().map_err(|invalid| wrong(invalid.to_string()))?;
        let said = said(file, entry, &request, *from);
        if said.is_ok() != (*expect == Expected::Allowed) {
            let said = said.unwrap_or_else(|denied| denied);
            failed.push(wrong(format!("{key} {}: {said}", action.join(" "))).to_string());
        }
    }
    Ok((count, failed))
}

/// Whether the rules permit it, with the reason either way.
fn said(
    file: &str,
    key: &Entry,
    request: &Request,
    from: Option<IpAddr>,
) -> Result<String, String> {
    let user = acting_user(key, request).unwrap_or(OWN);
    // A user that this machine does not have has the home that most do.
    let home = match User::named(user) {
        Ok(Some(user)) => user.home,
        _ if user == OWN => b"/root".to_vec(),
        _ => format!("/home/{user}").into_bytes(),
    };
    let program = match request {
        Request::Job(JobRequest::Run(run)) => run
            .command
            .words()
            .and_then(|words| words.first())
            .and_then(|name| program_there(key, name, &Exec::default().path)),
        _ => None,
    };
    let reached = reached(request);
    let facts = Facts {
        file,
        clock: Clock::new(SystemTime::now(), UNIX_EPOCH),
        peer: from.map(|address| Peer { address, is_own: false }),
        own: OWN,
        home: Some(&home),
        program: program.as_deref(),
        reached: reached.as_deref(),
        own_port: DEFAULT_PORT,
    };
    match decide(key, request, &facts) {
        Ok(grant) => Ok(format!("allowed by {}", facts.at(grant.line))),
        Err(denial) => Err(format!("denied: {denial}")),
    }
}

/// The address of a request to connect to it. Names are not looked up: another machine may know them by another one.
fn reached(request: &Request) -> Option<Vec<Reached>> {
    let Request::Connect(ConnectRequest::Connect(connect)) = request else { return None };
    if connect.host.is_empty() {
        return Some(Vec::new());
    }
    let ip: IpAddr = connect.host.parse().ok()?;
    Some(vec![Reached::new(SocketAddr::new(ip, connect.port), |_| false)])
}

/// The path of a program. One that this machine does not have is taken to be where a pattern names it, if hosts would
/// look there.
fn program_there(key: &Entry, name: &[u8], path: &str) -> Option<Vec<u8>> {
    program::look_up(name, path.as_bytes()).or_else(|| {
        let mut places = path.split(':').map(|place| [place.as_bytes(), b"/", name].concat());
        let patterns = key.commands.iter().flat_map(|commands| commands.iter());
        let programs: Vec<&[u8]> = patterns.flat_map(|pattern| pattern.programs()).collect();
        places.find(|place| programs.contains(&place.as_slice()))
    })
}

/// The request of an action's words.
fn request(words: &[String]) -> Result<Request, String> {
    let mut user = None;
    let mut words = words.iter();
    let mut action = None;
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((option, value)) => (option, Some(value)),
            None => (word.as_str(), None),
        };
        let mut value = || {
            let value = value.or_else(|| words.next().map(String::as_str));
            value.ok_or_else(|| format!("{option} wants a value"))
        };
        let asked = match option {
            "--user" | "-u" => {
                user = Some(value()?.to_owned());
                continue;
            }
            "--push" => Action::Push(below_home(value()?)),
            "--pull" => Action::Pull(below_home(value()?)),
            "--connect" => Action::Connect(value()?.to_owned()),
            "--listen" => Action::Listen(value()?.to_owned()),
            "--shell" => Action::Run(Command::Login),
            "--" => {
                let words: Vec<Vec<u8>> =
                    words.by_ref().map(|word| word.clone().into_bytes()).collect();
                match <[Vec<u8>; 1]>::try_from(words) {
                    Ok([line]) => Action::Run(Command::Shell(line)),
                    Err(words) => Action::Run(Command::Argv(words)),
                }
            }
            other => return Err(format!("{other:?} is no action")),
        };
        if action.replace(asked).is_some() {
            return Err(
                "an action is one of --push, --pull, --connect, --listen, --shell and -- COMMAND"
                    .to_owned(),
            );
        }
    }
    Ok(match action.ok_or("there is no action")? {
        Action::Run(command) => hypothetical::run(command, user),
        Action::Push(path) => {
            hypothetical::push(path, user, Preserve::default(), Overrides::default())
        }
        Action::Pull(path) => hypothetical::pull(path, user, None),
        Action::Connect(to) => hypothetical::connect(&to, user).ok_or_else(|| {
            format!("{to:?} is not ADDR:PORT, nor host:NAME, nor the path of a socket")
        })?,
        Action::Listen(at) => {
            hypothetical::listen(&at).ok_or_else(|| format!("{at:?} is not [ADDR:]PORT"))?
        }
    })
}

/// A path as it is on the wire, where relative ones begin at the home.
fn below_home(path: &str) -> Vec<u8> {
    path.strip_prefix("~/").unwrap_or(path).into()
}

enum Action {
    Run(Command),
    Push(Vec<u8>),
    Pull(Vec<u8>),
    Connect(String),
    Listen(String),
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("read {}: {}", path.display(), io_error(error))
}

fn fail(err: &mut dyn Write, why: &str) -> io::Result<ExitCode> {
    say(err, why)?;
    Ok(NO_VERDICT.into())
}

fn say(err: &mut dyn Write, line: &str) -> io::Result<()> {
    writeln!(err, "lariatd: {}", escape(line.as_bytes()))
}

fn escape_path(path: &Path) -> String {
    escape(path.display().to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(rules: &str) -> String {
        let (id, secret) = ("01".repeat(16), "ab".repeat(32));
        format!(
            "[[key]]\nid = \"{id}\"\nlabel = \"ci\"\nstored = \"{secret}\"\nagent = \"{secret}\"\n{rules}"
        )
    }

    fn run(
        work: impl Fn(&Path, &Path, &mut Vec<u8>, &mut Vec<u8>) -> io::Result<ExitCode>,
        rules: &str,
        cases: &str,
    ) -> (ExitCode, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let (keys, file) = (directory.path().join("k.toml"), directory.path().join("c.toml"));
        std::fs::write(&keys, rules).unwrap();
        std::fs::write(&file, cases).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = work(&keys, &file, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn cases_hold_or_are_told_with_their_line() {
        let rules = keyring(
            "verbs = [\"run\", \"push\"]\nusers = [\"app\"]\ncommands = [[\"/bin/true\", \"*\"], [\"/usr/bin/no-such-program\", \"x\"]]\n\
             push = [\"/srv\", \"/home/app/in\"]\nnetworks = [\"10.0.0.0/8\"]\n",
        );
        let case = |action: &str, expect: &str| {
            format!("[[case]]\nkey = \"ci\"\naction = [{action}]\nexpect = \"{expect}\"\n")
        };
        let try_cases =
            |cases: &str| run(|keys, file, out, err| test(keys, file, out, err), &rules, cases);
        let cases = [
            case("\"--\", \"/bin/true\", \"x\"", "allowed"),
            case("\"--\", \"/bin/true\", \"-x\"", "denied"),
            case("\"--\", \"/bin/true\"", "denied"),
            case("\"--user\", \"root\", \"--\", \"/bin/true\", \"x\"", "denied"),
            case("\"--push\", \"/srv/x\"", "allowed"),
            case("\"--push\", \"in/x\"", "allowed"),
            case("\"--push=~/in/x\"", "allowed"),
            case("\"-u\", \"app\", \"--\", \"no-such-program\", \"x\"", "allowed"),
            case("\"--\", \"no-such-either\", \"x\"", "denied"),
            case("\"--push\", \"/etc/x\"", "denied"),
            case("\"--pull\", \"/srv/x\"", "denied"),
            case("\"--shell\"", "denied"),
            format!("{}from = \"10.1.1.1\"\n", case("\"--push\", \"/srv/x\"", "allowed")),
            format!("{}from = \"11.1.1.1\"\n", case("\"--push\", \"/srv/x\"", "denied")),
        ];
        let (code, out, err) = try_cases(&cases.concat());
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""), "{out}");
        assert!(out.ends_with("14 of 14 cases hold\n"), "{out}");
        let (code, _, err) = try_cases(&case("\"--push\", \"/etc/x\"", "allowed"));
        assert_eq!(code, ExitCode::from(NO));
        assert!(err.contains("c.toml:1: ci --push /etc/x: denied: push: k.toml:9"), "{err}");
        for bad in [
            case("", "allowed"),
            case("\"--push\"", "allowed"),
            case("\"--push\", \"/x\", \"--shell\"", "allowed"),
            case("\"ls\"", "allowed"),
            case("\"--shell\"", "maybe"),
            case("\"--shell\"", "allowed").replace("\"ci\"", "\"bob\""),
            "[[case]]\nkey = \"ci\"\n".to_owned(),
            "x = 1\n".to_owned(),
        ] {
            let (code, _, err) = try_cases(&bad);
            assert_eq!(code, ExitCode::from(NO_VERDICT), "{bad}");
            assert!(err.contains("c.toml:"), "{err}");
        }
    }

    #[test]
    fn a_keyring_with_a_mistake_is_a_no() {
        let try_check =
            |rules: &str| run(|keys, _, out, err| check(keys, out, err), &keyring(rules), "");
        let (code, out, _) = try_check("verbs = [\"run\"]\n");
        assert!(code == ExitCode::SUCCESS && out.ends_with("k.toml: 1 key\n"), "{out}");
        let (code, _, err) = try_check("verbs = [\"run\"]\ncommands = [[\"/bin/sh\", \"-..\"]]\n");
        assert_eq!(code, ExitCode::SUCCESS, "warnings do not count: {err}");
        assert!(err.contains("k.toml:7: warning: /bin/sh can start programs"), "{err}");
        let (code, _, err) = try_check("");
        assert_eq!(code, ExitCode::from(NO));
        assert!(err.contains("k.toml:2: the key verbs is missing"), "{err}");
        let mut err = Vec::new();
        let code = check(Path::new("/no/such/file"), &mut Vec::new(), &mut err).unwrap();
        assert_eq!(code, ExitCode::from(NO_VERDICT));
    }
}
