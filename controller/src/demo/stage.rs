//! The environment of the tour: a directory, agents in it, and the commands that are run.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_base::name::HostName;
use rustix::process::{Pid, Signal, kill_process_group};

use super::keeper::Keeper;
use crate::error::CliError;
use crate::home::Home;
use crate::inventory::{Host, Inventory, edit};
use crate::output;
use crate::shell_word::shell_word;

/// Time limit for an agent's start; twelve start at once.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// How much later than its children the tour may receive a signal.
const SETTLE: Duration = Duration::from_millis(100);

/// How often an agent's log is read.
const LOOK: Duration = Duration::from_millis(2);

/// How long a command of the tour waits for an agent that is gone, with the tour perhaps.
const RECONNECT: &str = "8s";

/// What stands for the directory in the command lines that are shown.
const DIRECTORY: &str = "$DEMO";

/// The directory, and the processes that must end with it.
pub(super) struct Stage {
    shared: Arc<Shared>,
    directory: PathBuf,
    lariat: PathBuf,
}

struct Shared {
    /// `None` once the tour has ended.
    keeper: Mutex<Option<Keeper>>,
    /// The command in progress, which leads its process group.
    command: Mutex<Option<Pid>>,
    /// A shell has the terminal, and the signals that are typed there.
    is_in_shell: AtomicBool,
}

impl Stage {
    pub(super) fn new() -> Result<Self, CliError> {
        let lariat = std::env::current_exe()
            .map_err(|e| CliError::from(e).during("find the path of this program"))?;
        let keeper = Keeper::new(&find_agent(&lariat)?)?;
        let directory = keeper.path().to_owned();
        for name in ["log", "bundle"] {
            let made = std::fs::create_dir(directory.join(name));
            made.map_err(|e| CliError::from(e).during("make a directory"))?;
        }
        let (keeper, command) = (Mutex::new(Some(keeper)), Mutex::default());
        let shared = Arc::new(Shared { keeper, command, is_in_shell: AtomicBool::new(false) });
        Ok(Self { shared, directory, lariat })
    }

    /// Handles signals: they end the tour after cleaning up.
    pub(super) fn end_on_signals(&self) -> Result<(), CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |e: io::Error| CliError::from(e).during("wait for signals");
        let shared = Arc::clone(&self.shared);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(failed)?;
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        drop(entered);
        let wait = move || {
            let number = runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {
                            if !shared.is_in_shell.load(SeqCst) {
                                return SignalKind::interrupt();
                            }
                        }
                        _ = terminate.recv() => return SignalKind::terminate(),
                        _ = hangup.recv() => return SignalKind::hangup(),
                    }
                }
            });
            let mut keeper = lock(&shared.keeper);
            shared.kill_command();
            // Held until the process exits: threads that notice the agents' end wait here.
            drop(keeper.take());
            std::process::exit(128 + number.as_raw_value());
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
        Ok(())
    }

    /// If a signal has ended the tour, waits for the exit: the current failure is only its consequence.
    pub(super) fn settle(&self) {
        // The signal may have reached the failed process first.
        std::thread::sleep(SETTLE);
        drop(self.shared.keeper.lock());
    }

    /// A path in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory.
    pub(super) fn directory(&self) -> Result<&str, CliError> {
        self.directory.to_str().ok_or_else(|| {
            CliError::new("the temporary directory's name is not UTF-8")
                .hint("TMPDIR=/tmp lariat demo")
        })
    }

    /// A command line of `lariat` as a user of the tour's fleet would type it.
    pub(super) fn line(&self, arguments: &[&str]) -> Result<String, CliError> {
        let words: Vec<String> = arguments.iter().map(|word| shell_word(word)).collect();
        Ok(format!("lariat {}", words.join(" ").replace(self.directory()?, DIRECTORY)))
    }

    /// Runs `lariat`, which writes what it writes to the tour's stdout. Any exit status but 0 is an error.
    pub(super) fn show(&self, arguments: &[&str]) -> Result<(), CliError> {
        let mut command = self.command(arguments)?;
        // Stderr is the same terminal, or nothing that the tour has to do with.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let status = self.wait(self.spawn(command.stderr(stdout))?)?;
        if status.success() {
            return Ok(());
        }
        Err(CliError::new(format!("{}: {status}", self.line(arguments)?)))
    }

    /// Runs `lariat` quietly; any exit status but 0 is an error.
    pub(super) fn quietly(&self, arguments: &[&str]) -> Result<(), CliError> {
        let mut command = self.command(arguments)?;
        let output = command.output().map_err(|e| CliError::from(e).during("run lariat"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(CliError::new(String::from_utf8_lossy(&output.stderr).trim_end()))
    }

    /// Runs `lariat`, with each line of its stdout passed on to `line`.
    pub(super) fn follow(
        &self,
        arguments: &[&str],
        mut line: impl FnMut(&str) -> Result<(), CliError>,
    ) -> Result<ExitStatus, CliError> {
        let mut command = self.command(arguments)?;
        let mut child = self.spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()))?;
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).lines().try_for_each(|text| line(&text?))?;
        }
        self.wait(child)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, CliError> {
        let mut command = Command::new(&self.lariat);
        command.envs(self.variables()?).env_remove("LARIAT_KEY");
        if let [verb @ ("run" | "push"), rest @ ..] = arguments {
            command.args([verb, "--reconnect", RECONNECT]).args(rest);
        } else {
            command.args(arguments);
        }
        // Signals from the terminal only reach the tour, so that it does not report the children's failures.
        command.stdin(Stdio::null()).process_group(0);
        Ok(command)
    }

    /// What a shell needs to use the tour's fleet.
    fn variables(&self) -> Result<[(&'static str, OsString); 3], CliError> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let beside = self.lariat.parent().map(Path::to_owned);
        let path = std::env::join_paths(beside.into_iter().chain(std::env::split_paths(&path)))?;
        let (home, directory) = (self.path("home").into(), self.directory()?.into());
        Ok([("LARIAT_HOME", home), ("DEMO", directory), ("PATH", path)])
    }

    fn spawn(&self, command: &mut Command) -> Result<Child, CliError> {
        // With the lock, a signal finds the command or comes before it.
        let mut keeper = lock(&self.shared.keeper);
        let keeper = keeper.as_mut().ok_or_else(ended)?;
        let child = command.spawn().map_err(|e| CliError::from(e).during("run lariat"))?;
        let pid = Some(Pid::from_child(&child));
        *lock(&self.shared.command) = pid;
        keeper.command(pid)?;
        Ok(child)
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus, CliError> {
        let status = child.wait();
        let mut keeper = lock(&self.shared.keeper);
        *lock(&self.shared.command) = None;
        keeper.as_mut().ok_or_else(ended)?.command(None)?;
        Ok(status?)
    }

    /// Enrolls a host, for a port that the system chooses.
    pub(super) fn enroll(&self, host: &str, tag: &str) -> Result<(), CliError> {
        let bundle = format!("{}/bundle/{host}", self.directory()?);
        self.quietly(&["enroll", host, "--address", "127.0.0.1:1", "--tag", tag, "--out", &bundle])
    }

    /// Starts a host's agent.
    pub(super) fn start(&self, host: &str, address: &str) -> Result<(), CliError> {
        lock(&self.shared.keeper).as_mut().ok_or_else(ended)?.start(host, address)
    }

    /// Kills a host's agent.
    pub(super) fn kill(&self, host: &str) -> Result<(), CliError> {
        lock(&self.shared.keeper).as_mut().ok_or_else(ended)?.kill(host)
    }

    /// Waits until an agent listens, and returns its address.
    pub(super) fn address(&self, host: &str) -> Result<SocketAddr, CliError> {
        let log = lock(&self.shared.keeper).as_ref().ok_or_else(ended)?.log(host);
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let listening = whole.split("listening on ").nth(1);
            if let Some(address) = listening.and_then(|text| text.split_whitespace().next()) {
                return Ok(address.parse()?);
            }
            let last = whole.lines().last().unwrap_or_default();
            if began.elapsed() > STEP_TIMEOUT || last.starts_with("lariatd: ") {
                return Err(CliError::new(format!("the agent of {host} did not start: {last}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Writes the addresses of hosts to the inventory.
    pub(super) fn move_hosts(&self, hosts: &[(&str, SocketAddr)]) -> Result<(), CliError> {
        let home = Home::find(Some(&self.path("home")))?;
        let lock = home.lock()?;
        for (name, address) in hosts {
            let name: HostName = name.parse()?;
            let host = Inventory::load(&home)?.host(&name)?.clone();
            let host = Host { address: Some(address.to_string().parse()?), ..host };
            edit::remove(&home, &lock, &name)?;
            edit::add(&home, &lock, &name, &host)?;
        }
        Ok(())
    }

    /// Runs the user's shell, in the directory and with the tour's fleet. Its jobs are ended afterwards.
    pub(super) fn shell(&self) -> Result<(), CliError> {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(&shell);
        command.envs(self.variables()?).env_remove("LARIAT_KEY").current_dir(&self.directory);
        self.shared.is_in_shell.store(true, SeqCst);
        let status = command.status();
        self.shared.is_in_shell.store(false, SeqCst);
        status.map_err(|e| CliError::from(e).during(format!("run {}", shell.display())))?;
        let mut jobs = Vec::new();
        self.follow(&["jobs", "all", "--running", "--json"], |line| {
            let job: serde_json::Value = serde_json::from_str(line)?;
            let text = |field: &str| job[field].as_str().map(ToOwned::to_owned);
            jobs.extend(text("host").zip(text("job")));
            Ok(())
        })?;
        // A job that has ended meanwhile is as good.
        jobs.iter().for_each(|(host, job)| drop(self.quietly(&["kill", host, job, "-s", "KILL"])));
        Ok(())
    }
}

impl Shared {
    /// Kills the command in progress, and what it has drawn.
    fn kill_command(&self) {
        if let Some(pid) = lock(&self.command).take() {
            // It may have ended.
            let _ = kill_process_group(pid, Signal::KILL);
            if io::stdout().is_terminal() {
                let _ = output::bytes(b"\r\x1b[J");
            }
        }
    }
}

fn ended() -> CliError {
    CliError::new("the tour has ended")
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(lock(&self.shared.keeper).take());
    }
}

/// `lariatd` in this program's directory, else in PATH.
fn find_agent(lariat: &Path) -> Result<PathBuf, CliError> {
    let beside = lariat.with_file_name("lariatd");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates =
        std::iter::once(beside).chain(std::env::split_paths(&path).map(|d| d.join("lariatd")));
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.ok_or_else(|| {
        CliError::new("lariatd is neither beside lariat nor in PATH")
            .hint("cargo build --release, which makes both")
    })
}
