//! What a new program must pass before it is started: it is no package's, runs on this host, is a newer agent, and finds
//! this host's configuration in order.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lariat_base::clock::whole_milliseconds;
use lariat_base::escape::escape;
use lariat_base::os_error::io_error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::version;
use crate::config::Config;
use crate::jobs::OWN_BINARY;

/// Longest time that a program may take to tell something.
const LIMIT: Duration = Duration::from_secs(8);

/// How often a program that says nothing is looked at.
const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const PAUSE: Duration = Duration::from_millis(10);

/// Most bytes of output that are kept.
const MOST: usize = 16 * 1024;

/// Most characters of a line that is shown.
const LINE: usize = 300;

/// Package managers, and how each tells whose a file is.
const MANAGERS: [(&str, &str); 2] = [("/usr/bin/dpkg-query", "-S"), ("/usr/bin/rpm", "-qf")];

/// The package that the agent's program belongs to, if any.
pub(super) fn package(program: &Path) -> Option<String> {
    MANAGERS.into_iter().filter(|(manager, _)| Path::new(manager).exists()).find_map(
        |(manager, option)| {
            let (status, told) = run(Command::new(manager).arg(option).arg(program), LIMIT).ok()?;
            // dpkg: `PACKAGE: FILE`; rpm: `PACKAGE-VERSION`.
            let line = first_line(&told);
            let name = line.split(": ").next().unwrap_or(&line);
            status.success().then(|| name.to_owned())
        },
    )
}

/// Checks a new program, and returns its version; or why it can't take the place of this one, in a sentence.
pub(super) fn check(new: &Path, config: &Path, downgrade: bool) -> Result<String, String> {
    if is_for_another_architecture(new) {
        return Err("the new agent is for another architecture than this host's".to_owned());
    }
    let (status, told) = run(Command::new(new).arg("--version"), LIMIT)
        .map_err(|why| format!("the new agent can't be run on this host: {why}"))?;
    let line = first_line(&told);
    if !status.success() {
        return Err(format!("the new agent can't be run on this host ({status}): {line}"));
    }
    let own = env!("CARGO_PKG_VERSION");
    let to = line.strip_prefix("lariatd ").unwrap_or_default();
    match version::compare(to, own) {
        None => {
            return Err(format!("the new program is not lariatd: its --version says \"{line}\""));
        }
        Some(Ordering::Less) if !downgrade => {
            return Err(format!("its version, {to}, is older than {own}; try: --downgrade"));
        }
        Some(_) => {}
    }
    let (status, told) = run(Command::new(new).arg("check").arg("--config").arg(config), LIMIT)
        .map_err(|why| format!("the new agent's check of this host: {why}"))?;
    if !status.success() {
        let mut lines = told.lines().filter_map(|line| line.strip_prefix("lariatd: "));
        // Warnings come first.
        let why = lines.find(|line| !line.contains(": warning: "));
        let why = why.map_or_else(|| first_line(&told), shown);
        return Err(format!("the new agent's check of this host failed ({status}): {why}"));
    }
    Ok(to.to_owned())
}

/// How long a new agent has to be confirmed.
pub(super) fn limit(config: &Config) -> u64 {
    whole_milliseconds(config.upgrade.confirm)
}

/// Whether a program's header (elf(5)) names another architecture than that of this process's own.
fn is_for_another_architecture(program: &Path) -> bool {
    let header = |path: &Path| {
        let mut header = [0; 20];
        File::open(path)?.read_exact(&mut header)?;
        io::Result::Ok(header)
    };
    let (Ok(new), Ok(own)) = (header(program), header(Path::new(OWN_BINARY))) else { return false };
    let (is_elf, machine) =
        (new.starts_with(b"\x7fELF"), |elf: [u8; 20]| (elf[4], elf[5], elf[18], elf[19]));
    is_elf && machine(new) != machine(own)
}

fn first_line(text: &str) -> String {
    shown(text.lines().next().unwrap_or_default())
}

fn shown(line: &str) -> String {
    escape(line.chars().take(LINE).collect::<String>().as_bytes())
}

/// Runs a program to its end, and returns what it told, on stdout and stderr.
fn run(command: &mut Command, limit: Duration) -> Result<(ExitStatus, String), String> {
    let (told, ours) = io::pipe().map_err(|error| io_error(&error))?;
    let also = ours.try_clone().map_err(|error| io_error(&error))?;
    // In the agent's own directory, where the path of its configuration may begin.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(ours).stderr(also).process_group(0);
    let spawned = spawn(command, limit);
    // The command has its ends of the pipe as long as it is there.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned.map_err(|error| format!("{}{}", io_error(&error), hint(&error)))?;
    let ended = until_its_end(&mut child, &mut File::from(OwnedFd::from(told)), limit);
    if !matches!(ended, Ok(Some(_))) {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
    }
    match ended {
        Ok(Some((status, told))) => Ok((status, String::from_utf8_lossy(&told).into_owned())),
        Ok(None) => Err(format!("it did not end within {} s", limit.as_secs())),
        Err(error) => Err(io_error(&error)),
    }
}

/// Starts a program. Until a process that was just forked executes its own, it may hold a file that was written open.
fn spawn(command: &mut Command, limit: Duration) -> io::Result<Child> {
    let until = Instant::now() + limit;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < until =>
            {
                sleep(PAUSE);
            }
            spawned => return spawned,
        }
    }
}

/// What a program tells until its end; `None` if it does not end in time. What it leaves behind is not waited for.
fn until_its_end(
    child: &mut Child,
    told: &mut File,
    limit: Duration,
) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    let (until, mut kept) = (Instant::now() + limit, Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let ended = child.try_wait()?;
        let is_readable = poll(&mut [PollFd::new(&*told, PollFlags::IN)], Some(&STEP))? > 0;
        let read = if is_readable { told.read(&mut buffer)? } else { 0 };
        let room = MOST.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
        match ended {
            Some(status) if read == 0 || room == 0 => return Ok(Some((status, kept))),
            _ if Instant::now() >= until => return Ok(None),
            _ => {}
        }
        if is_readable && read == 0 {
            // It has closed its output.
            sleep(PAUSE);
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOEXEC) => "; it is no program",
        Some(rustix::io::Errno::NOENT) => "; it needs a loader or an interpreter that is not here",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const OWN: &str = env!("CARGO_PKG_VERSION");

    fn program(directory: &tempfile::TempDir, text: &[u8]) -> PathBuf {
        let path = directory.path().join("lariatd.new");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn checked(text: &str, downgrade: bool) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        check(&program(&directory, text.as_bytes()), Path::new("/x/agent.toml"), downgrade)
    }

    /// A script that is lariatd of this version, with this `check`.
    fn script(version: &str, check: &str) -> String {
        format!(
            "#!/bin/sh\n[ \"$*\" = --version ] && echo lariatd {version} && exit\n\
             [ \"$*\" = 'check --config /x/agent.toml' ] || exit 9\n{check}\n"
        )
    }

    #[test]
    fn what_can_take_the_agents_place_tells_its_version() {
        assert_eq!(checked(&script("99.0.0", "exit 0"), false), Ok("99.0.0".to_owned()));
        assert_eq!(checked(&script(OWN, "true"), false), Ok(OWN.to_owned()));
        assert_eq!(checked(&script("0.0.1", "true"), true), Ok("0.0.1".to_owned()));
        // What it leaves running with its output open is not waited for.
        assert_eq!(checked(&script(OWN, "sleep 30 & exit 0"), false), Ok(OWN.to_owned()));
    }

    #[test]
    fn what_can_t_is_told_in_a_sentence() {
        let wrong =
            "echo lariatd: a: warning: w >&2; echo lariatd: agent.toml:3: colour >&2; exit 78";
        for (text, why) in [
            (script("0.0.1", "true"), "its version, 0.0.1, is older than"),
            (
                script("99.0.0", wrong),
                "check of this host failed (exit status: 78): agent.toml:3: colour",
            ),
            (
                "#!/bin/sh\necho no >&2; exit 1\n".to_owned(),
                "can't be run on this host (exit status: 1): no",
            ),
            ("#!/bin/sh\necho hello\n".to_owned(), "is not lariatd: its --version says \"hello\""),
            ("#!/bin/sh\n".to_owned(), "is not lariatd: its --version says \"\""),
            ("#!/no/such\n".to_owned(), "needs a loader or an interpreter"),
            (format!("\u{7f}ELF{}", "\0".repeat(16)), "is for another architecture"),
        ] {
            let told = checked(&text, false).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn what_never_ends_is_killed_and_what_tells_without_end_is_cut() {
        let mut sleeper = Command::new("/bin/sh");
        let began = Instant::now();
        let error = run(sleeper.args(["-c", "sleep 60 & sleep 60"]), Duration::from_millis(100));
        assert_eq!(error.unwrap_err(), "it did not end within 0 s");
        assert!(began.elapsed() < Duration::from_secs(20));
        let mut talker = Command::new("/bin/sh");
        let (status, told) = run(talker.args(["-c", "head -c 300000 /dev/zero"]), LIMIT).unwrap();
        assert!(status.success() && told.len() == MOST);
    }

    #[test]
    fn a_program_of_a_package_is_known() {
        let manager = Path::new("/usr/bin/dpkg-query");
        if manager.exists() {
            assert_eq!(package(manager), Some("dpkg".to_owned()));
        }
        assert_eq!(package(Path::new("/no/such/lariatd")), None);
    }
}
