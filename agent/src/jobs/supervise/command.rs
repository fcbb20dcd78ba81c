//! Starts the command: its environment, its directory, its program, its three streams.
//!
//! Invariant: the command inherits what is named here and nothing else: no variable, no descriptor, no blocked
//! or ignored signal.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

use lariat_base::script::Interpreter;
use rustix::fs::{Access, AtFlags, CWD, MemfdFlags, accessat};
use rustix::io::Errno;

use super::as_user::as_user;
use super::spawn::{Program, spawn};
use super::terminal::{self, Ends};
use crate::jobs::cgroup::OwnGroup;
use crate::jobs::channel::Begin;
use crate::jobs::clone::Memory;
use crate::jobs::raw;
use crate::jobs::words::{Command, During, End, NotStarted, Streams};

/// The shell that runs command lines.
const SHELL: &str = "/bin/sh";

/// The working directory of a user without a home.
const NO_HOME: &str = "/";

/// A running command.
pub(super) struct Running {
    /// Its process id, which is also its process group's.
    pub(super) pid: u32,
    /// The supervisor's end of its stdin, if it has one.
    pub(super) stdin: Option<OwnedFd>,
    /// The supervisor's ends of its stdout and stderr; a terminal is the first, without a second.
    pub(super) outputs: [Option<OwnedFd>; 2],
}

/// Why the command does not run.
#[derive(Debug)]
pub(super) enum Failed {
    /// The program can't be run.
    NotRun(End),
    /// An earlier step failed.
    NotStarted(NotStarted),
}

impl Failed {
    /// A system call failed.
    pub(super) fn io(error: &io::Error) -> Self {
        Self::NotStarted(NotStarted::new(During::Start, None, error))
    }
}

/// Starts the command, in this control group if there is one. Changes this process's working directory to the
/// command's.
pub(super) fn start(begin: &Begin, group: Option<&mut OwnGroup>) -> Result<Running, Failed> {
    let failed = |error: io::Error| Failed::io(&error);
    let user = begin.become_user.as_ref();
    let script = script(begin).map_err(failed)?;
    // The user's own rights decide which directory and program the command can use.
    let prepared = as_user(user, || {
        enter(begin).map_err(Failed::NotStarted)?;
        prepare(begin, script.as_ref())
    });
    let program = prepared.map_err(|errno| failed(errno.into()))??;
    let mut command = program.command();
    if let Some(user) = user {
        raw::become_user(&mut command, user);
    }
    let (stdin, outputs) = match &begin.run.streams {
        Streams::Terminal { size, .. } => {
            terminal::connect(&mut command, *size, user).map_err(failed)?
        }
        Streams::Followed { stdin } => pipes(&mut command, *stdin).map_err(failed)?,
        Streams::Detached => pipes(&mut command, false).map_err(failed)?,
    };
    // A child that becomes another user shares nothing with this process.
    let memory = if user.is_some() { Memory::Own } else { Memory::Shared };
    let pid = spawn(command, program, memory, group).map_err(|error| not_run(&error))?;
    Ok(Running { pid, stdin, outputs })
}

/// Connects the command to pipes, in a new process group, which one system call can signal.
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

fn not_run(error: &io::Error) -> Failed {
    Failed::NotRun(End::NotRun(error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error())))
}

/// Changes to the working directory, which is relative to the home and defaults to it.
fn enter(begin: &Begin) -> Result<(), NotStarted> {
    let home = Path::new(OsStr::from_bytes(&begin.home));
    match &begin.run.cwd {
        Some(cwd) => {
            let directory = home.join(OsStr::from_bytes(cwd));
            std::env::set_current_dir(&directory).map_err(|error| {
                NotStarted::new(
                    During::EnterDirectory,
                    Some(directory.as_os_str().as_bytes()),
                    &error,
                )
            })
        }
        None => std::env::set_current_dir(home).or_else(|_| {
            std::env::set_current_dir(NO_HOME).map_err(|error| {
                NotStarted::new(During::EnterDirectory, Some(NO_HOME.as_bytes()), &error)
            })
        }),
    }
}

/// A script as a file in memory, if the command is one. The command inherits its descriptor, so the interpreter
/// can read it as any user.
fn script(begin: &Begin) -> io::Result<Option<File>> {
    let Command::Script { body, .. } = &begin.run.command else { return Ok(None) };
    let mut file = File::from(rustix::fs::memfd_create(c"script", MemfdFlags::empty())?);
    file.write_all(body)?;
    Ok(Some(file))
}

fn prepare(begin: &Begin, script: Option<&File>) -> Result<Program, Failed> {
    let (program, arguments): (Vec<u8>, Vec<Vec<u8>>) = match &begin.run.command {
        // `--`: a command line that begins with a dash is not an option.
        Command::Shell(line) => {
            (SHELL.into(), vec![b"sh".into(), b"-c".into(), b"--".into(), line.clone()])
        }
        Command::Argv(words) => (words.first().cloned().unwrap_or_default(), words.clone()),
        Command::Script { body, args } => {
            let Interpreter { program, argument } = Interpreter::of(body);
            let file =
                script.map(|file| format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes());
            let words = [program.to_vec()].into_iter().chain(argument.map(<[u8]>::to_vec));
            (program.to_vec(), words.chain(file).chain(args.iter().cloned()).collect())
        }
        Command::Login => {
            let shell = variable(begin, b"SHELL");
            let name = shell.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            // The leading dash makes a shell a login shell.
            (shell.to_vec(), vec![[b"-", name].concat()])
        }
    };
    let not_run = |errno: Errno| Failed::NotRun(End::NotRun(errno.raw_os_error()));
    if program.is_empty() {
        return Err(not_run(Errno::NOENT));
    }
    let path = match &begin.program {
        Some(path) => PathBuf::from(OsStr::from_bytes(path)),
        None => find(&program, variable(begin, b"PATH")).map_err(not_run)?,
    };
    let term = match &begin.run.streams {
        Streams::Terminal { term, .. } => Some((b"TERM".to_vec(), term.clone())),
        Streams::Followed { .. } | Streams::Detached => None,
    };
    // Of variables with the same name the last one counts.
    let all = begin.env.iter().chain(&term).chain(&begin.run.env);
    let variables: BTreeMap<_, _> = all.map(|(name, value)| (name, value)).collect();
    let variables = variables.into_iter().map(|(name, value)| [name, &b"="[..], value].concat());
    let program = Program::new(path.into_os_string().into_vec(), arguments, variables);
    // The request was checked for NUL bytes; the host's user database was not.
    program.map_err(|_| not_run(Errno::INVAL))
}

/// A variable of the command's environment.
fn variable<'a>(begin: &'a Begin, wanted: &[u8]) -> &'a [u8] {
    let mut all = begin.run.env.iter().rev().chain(begin.env.iter().rev());
    all.find(|(name, _)| name == wanted).map_or(&[], |(_, value)| value)
}

/// Finds a program as `execvp` does, except that a file which the system can't execute is not passed to a
/// shell.
fn find(program: &[u8], path: &[u8]) -> Result<PathBuf, Errno> {
    if program.contains(&b'/') {
        return Ok(PathBuf::from(OsStr::from_bytes(program)));
    }
    let mut error = Errno::NOENT;
    for directory in path.split(|&byte| byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(program));
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
        fs::create_dir(one.path().join("directory")).unwrap();
        assert_eq!(find(b"plain", &path), Ok(two.path().join("plain")));
        assert_eq!(find(b"only", &path), Err(Errno::ACCESS));
        assert_eq!(find(b"directory", &path), Err(Errno::ACCESS));
        assert_eq!(find(b"none", &path), Err(Errno::NOENT));
        assert_eq!(find(b"./none", &path), Ok("./none".into()));
    }
}
