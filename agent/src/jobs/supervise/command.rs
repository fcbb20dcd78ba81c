//! Starting the command: its environment, its folder, its program, its three streams.
//!
//! Invariant: the command gets what is named here and nothing of ours: no variable, no descriptor, no
//! blocked or ignored signal.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

use lariat_common::protocol::exec::{Command, End, Streams};
use lariat_common::protocol::failure::{Action, Failure};
use lariat_common::script::Interpreter;
use rustix::fs::{Access, AtFlags, CWD, MemfdFlags, accessat};
use rustix::io::Errno;

use super::as_user::as_user;
use super::terminal;
use crate::jobs::channel::Begin;
use crate::jobs::raw;

/// The shell that runs command lines.
const SHELL: &str = "/bin/sh";

/// Where a command runs whose user has no home.
const NO_HOME: &str = "/";

/// A command that runs.
pub(super) struct Running {
    /// Its process, which leads a group of its own.
    pub(super) pid: u32,
    /// Our end of its stdin, if it has one.
    pub(super) stdin: Option<OwnedFd>,
    /// Our ends of its stdout and stderr; of a terminal the one that there is.
    pub(super) outputs: [Option<OwnedFd>; 2],
}

/// Why it does not run.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The program can't be run.
    NotRun(End),
    /// Something else failed before it came to that.
    Failed(Failure),
}

/// Starts the command. The working folder of this process is its folder afterwards.
pub(super) fn start(begin: &Begin) -> Result<Running, NotStarted> {
    let failed = |error: io::Error| {
        NotStarted::Failed(Failure { path: None, ..Failure::io(Action::Start, &[], &error) })
    };
    let user = begin.become_user.as_ref();
    let script = script(begin).map_err(failed)?;
    // A folder or a program that the user can't get at is not got at for the user.
    let prepared = as_user(user, || {
        enter(begin).map_err(NotStarted::Failed)?;
        prepare(begin, script.as_ref())
    });
    let mut command = prepared.map_err(|errno| failed(errno.into()))??;
    if let Some(user) = user {
        raw::become_user(&mut command, user);
    }
    let (stdin, outputs) = match &begin.run.streams {
        Streams::Terminal { size, .. } => {
            terminal::connect(&mut command, *size, user).map_err(failed)?
        }
        Streams::Followed { stdin } => pipes(&mut command, *stdin).map_err(failed)?,
        Streams::Kept => pipes(&mut command, false).map_err(failed)?,
    };
    let child = command.spawn().map_err(|error| not_run(&error))?;
    Ok(Running { pid: child.id(), stdin, outputs })
}

/// Our ends of a command's streams: stdin, if it has one, and outputs.
pub(super) type Ends = (Option<OwnedFd>, [Option<OwnedFd>; 2]);

/// Gives the command three streams, in a process group of its own that can be signalled at one stroke.
fn pipes(command: &mut process::Command, with_stdin: bool) -> io::Result<Ends> {
    let (stdout, stdout_write) = io::pipe()?;
    let (stderr, stderr_write) = io::pipe()?;
    command.stdout(stdout_write).stderr(stderr_write).process_group(0);
    let mut stdin = None;
    if with_stdin {
        let (read, write) = io::pipe()?;
        command.stdin(read);
        stdin = Some(OwnedFd::from(write));
    } else {
        command.stdin(Stdio::null());
    }
    Ok((stdin, [stdout, stderr].map(|pipe| Some(pipe.into()))))
}

fn not_run(error: &io::Error) -> NotStarted {
    NotStarted::NotRun(End::NotRun(error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error())))
}

/// Enters the working folder: relative to the home, which is also the default.
fn enter(begin: &Begin) -> Result<(), Failure> {
    let home = Path::new(OsStr::from_bytes(&begin.home));
    match &begin.run.cwd {
        Some(cwd) => {
            let folder = home.join(OsStr::from_bytes(cwd));
            std::env::set_current_dir(&folder).map_err(|error| {
                Failure::io(Action::EnterFolder, folder.as_os_str().as_bytes(), &error)
            })
        }
        None => std::env::set_current_dir(home).or_else(|_| {
            std::env::set_current_dir(NO_HOME)
                .map_err(|error| Failure::io(Action::EnterFolder, NO_HOME.as_bytes(), &error))
        }),
    }
}

/// The script, if it is one, as a file in memory. The command inherits its descriptor: that is the
/// only place where the script's reader finds it, whoever it runs as.
fn script(begin: &Begin) -> io::Result<Option<File>> {
    let Command::Script { body, .. } = &begin.run.command else { return Ok(None) };
    let mut file = File::from(rustix::fs::memfd_create(c"script", MemfdFlags::empty())?);
    file.write_all(body)?;
    Ok(Some(file))
}

fn prepare(begin: &Begin, script: Option<&File>) -> Result<process::Command, NotStarted> {
    let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut command = match &begin.run.command {
        Command::Shell(line) => {
            let mut command = process::Command::new(SHELL);
            // A line that begins with a dash is no option.
            command.arg0("sh").arg("-c").arg("--").arg(os(line));
            command
        }
        Command::Argv(words) => {
            let (program, rest) = words
                .split_first()
                .ok_or(NotStarted::NotRun(End::NotRun(Errno::NOENT.raw_os_error())))?;
            let found = find(program, variable(begin, b"PATH"))
                .map_err(|errno| NotStarted::NotRun(End::NotRun(errno.raw_os_error())))?;
            let mut command = process::Command::new(found);
            command.arg0(os(program)).args(rest.iter().map(|word| os(word)));
            command
        }
        Command::Script { body, args } => {
            let Interpreter { program, argument } = Interpreter::of(body);
            let mut command = process::Command::new(os(program));
            command.args(argument.map(os));
            command.args(script.map(|file| format!("/proc/self/fd/{}", file.as_raw_fd())));
            command.args(args.iter().map(|word| os(word)));
            command
        }
        Command::Login => {
            let shell = variable(begin, b"SHELL");
            let name = shell.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let mut command = process::Command::new(os(shell));
            // The dash is how a shell is told that somebody logs in.
            command.arg0(os(&[b"-", name].concat()));
            command
        }
    };
    command.env_clear();
    let term = match &begin.run.streams {
        Streams::Terminal { term, .. } => Some((b"TERM".to_vec(), term.clone())),
        Streams::Followed { .. } | Streams::Kept => None,
    };
    for (name, value) in begin.env.iter().chain(&term).chain(&begin.run.env) {
        command.env(os(name), os(value));
    }
    Ok(command)
}

/// A variable as the command will have it.
fn variable<'a>(begin: &'a Begin, wanted: &[u8]) -> &'a [u8] {
    let mut all = begin.run.env.iter().rev().chain(begin.env.iter().rev());
    all.find(|(name, _)| name == wanted).map_or(&[], |(_, value)| value)
}

/// Finds a program as `execvp` does, but for its habit of giving what is no program to a shell.
fn find(program: &[u8], path: &[u8]) -> Result<PathBuf, Errno> {
    if program.contains(&b'/') {
        return Ok(PathBuf::from(OsStr::from_bytes(program)));
    }
    let mut error = Errno::NOENT;
    for folder in path.split(|&byte| byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let candidate = Path::new(OsStr::from_bytes(folder)).join(OsStr::from_bytes(program));
        match accessat(CWD, &candidate, Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) if candidate.is_dir() => error = Errno::ACCESS,
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => error = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let one = tempfile::tempdir().unwrap();
        let two = tempfile::tempdir().unwrap();
        let path =
            [one.path().as_os_str().as_bytes(), two.path().as_os_str().as_bytes()].join(&b':');
        let make = |dir: &tempfile::TempDir, name: &str, mode| {
            let file = dir.path().join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        };
        make(&one, "plain", 0o644);
        make(&two, "plain", 0o755);
        make(&one, "only", 0o644);
        fs::create_dir(one.path().join("folder")).unwrap();
        assert_eq!(find(b"plain", &path), Ok(two.path().join("plain")));
        assert_eq!(find(b"only", &path), Err(Errno::ACCESS));
        assert_eq!(find(b"folder", &path), Err(Errno::ACCESS));
        assert_eq!(find(b"none", &path), Err(Errno::NOENT));
        assert_eq!(find(b"./none", &path), Ok("./none".into()));
    }
}
