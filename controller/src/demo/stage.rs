//! What the tour stands on: a directory, an agent in it, and the commands that are run.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lariat_base::lock::lock;
use lariat_base::name::HostName;
use serde::Deserialize;

use super::keeper::Keeper;
use crate::error::CliError;
use crate::home::Home;
use crate::inventory::{Host, Inventory, edit};

/// How long the agent may take to listen, and a push to get where it is cut.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a signal that ended something else may take to get to the tour itself.
const SETTLE: Duration = Duration::from_millis(100);

/// How often it is looked how far the push has come.
const LOOK: Duration = Duration::from_micros(500);

/// The directory, and the processes that must go with it.
pub(super) struct Stage {
    /// None once the tour has ended.
    keeper: Arc<Mutex<Option<Keeper>>>,
    directory: PathBuf,
    lariat: PathBuf,
}

/// What `--json` tells of a transfer.
#[derive(Deserialize)]
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) sent: u64,
    pub(super) reused: u64,
    pub(super) seconds: f64,
}

impl Stage {
    pub(super) fn new() -> Result<Self, CliError> {
        let lariat = std::env::current_exe()
            .map_err(|e| CliError::from(e).during("find the program that this is"))?;
        let lariatd = find_agent(&lariat)?;
        let keeper = Keeper::new(&lariatd)?;
        let directory = keeper.path().to_owned();
        std::fs::create_dir(directory.join("srv"))
            .map_err(|e| CliError::from(e).during("make a directory"))?;
        Ok(Self { keeper: Arc::new(Mutex::new(Some(keeper))), directory, lariat })
    }

    /// A signal ends the tour, and it still leaves nothing behind.
    pub(super) fn end_on_signals(&self) -> Result<(), CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |e: std::io::Error| CliError::from(e).during("wait for signals");
        let keeper = Arc::clone(&self.keeper);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(failed)?;
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        drop(entered);
        let wait = move || {
            let number = runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hangup.recv() => SignalKind::hangup(),
                }
            });
            let mut keeper = lock(&keeper);
            // Held until the end: whoever notices that the agent is gone waits here.
            drop(keeper.take());
            std::process::exit(128 + number.as_raw_value());
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?;
        Ok(())
    }

    /// Waits for the end if a signal has begun it: what fails then fails because of it.
    pub(super) fn settle(&self) {
        // The same signal may have made both of them busy.
        std::thread::sleep(SETTLE);
        drop(self.keeper.lock());
    }

    /// A path in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `TARGET:PATH` of a file that stands for `/srv/NAME`.
    pub(super) fn remote(&self, name: &str) -> Result<String, CliError> {
        Ok(format!("demo1:{}/{name}", text(&self.path("srv"))?))
    }

    /// Runs `lariat` in the demo's fleet.
    pub(super) fn lariat(&self, arguments: &[&str]) -> Result<Output, CliError> {
        self.command(arguments).output().map_err(|e| CliError::from(e).during("run lariat"))
    }

    /// Runs `lariat`, for which any exit status but 0 is an error.
    pub(super) fn quietly(&self, arguments: &[&str]) -> Result<Output, CliError> {
        let output = self.lariat(arguments)?;
        if output.status.success() { Ok(output) } else { Err(failed(&output)) }
    }

    /// Runs a transfer, and reads its `--json`.
    pub(super) fn transfer(&self, arguments: &[&str]) -> Result<Transfer, CliError> {
        Ok(serde_json::from_slice(&self.quietly(arguments)?.stdout)?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.lariat);
        command.arg("--home").arg(self.path("home")).args(arguments).stdin(Stdio::null());
        if let ["push" | "pull", ..] = arguments {
            // When the tour is ended the agent goes, and these go with it.
            command.args(["--reconnect", "0"]);
        }
        // Of a signal from the terminal the tour hears first, and tells nobody's failure after it.
        command.process_group(0);
        command
    }

    /// Issues the bundle, for a port that the system will pick.
    pub(super) fn enroll(&self) -> Result<(), CliError> {
        let bundle = text(&self.path("bundle"))?;
        self.quietly(&["enroll", "demo1", "--address", "127.0.0.1:1", "--out", &bundle]).map(|_| ())
    }

    /// Starts the agent and writes down where it is; tells what its log says of that.
    pub(super) fn start_agent(&self) -> Result<String, CliError> {
        let log = {
            let mut keeper = lock(&self.keeper);
            let keeper = keeper.as_mut().ok_or_else(|| CliError::new("the tour has ended"))?;
            keeper.start_agent()?
        };
        let mut lines = BufReader::new(log).lines();
        let mut last = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                return Err(CliError::new(format!("the agent did not start: {last}")));
            };
            if let Some((_, address)) = line.split_once("listening on ") {
                break address.split_whitespace().next().unwrap_or_default().to_owned();
            }
            last = line;
        };
        // Somebody must read on, or the agent's log would fill its pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.move_host(&address)?;
        Ok(format!("listening on {address}"))
    }

    fn move_host(&self, address: &str) -> Result<(), CliError> {
        let name: HostName = "demo1".parse()?;
        let home = Home::find(Some(&self.path("home")))?;
        let host = Inventory::load(&home)?.host(&name)?.clone();
        let host = Host { address: address.parse()?, ..host };
        let lock = home.lock()?;
        edit::remove(&home, &lock, &name)?;
        edit::add(&home, &lock, &name, &host)
    }

    /// Pushes a file and kills the push when this much has arrived; tells how much it was.
    pub(super) fn cut_push(&self, source: &Path, enough: u64) -> Result<u64, CliError> {
        let source = text(source)?;
        let mut push = self
            .command(&["push", &source, &self.remote("")?])
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| CliError::from(e).during("run lariat"))?;
        let began = Instant::now();
        let arrived = loop {
            let arrived = self.partial_len();
            if arrived >= enough || began.elapsed() > PATIENCE || push.try_wait()?.is_some() {
                break arrived;
            }
            std::thread::sleep(LOOK);
        };
        push.kill()?;
        push.wait()?;
        if arrived == 0 { Err(CliError::new("the push could not be cut")) } else { Ok(arrived) }
    }

    fn partial_len(&self) -> u64 {
        let entries = std::fs::read_dir(self.path("srv")).into_iter().flatten().flatten();
        let partial = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "part"));
        partial.filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).max().unwrap_or_default()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(lock(&self.keeper).take());
    }
}

/// `lariatd` beside this program, else in PATH.
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

/// What a command that failed has said.
pub(super) fn failed(output: &Output) -> CliError {
    CliError::new(String::from_utf8_lossy(&output.stderr).trim_end())
}

/// A path as a word of a command line.
pub(super) fn text(path: &Path) -> Result<String, CliError> {
    let text = path.to_str().map(ToOwned::to_owned);
    text.ok_or_else(|| {
        CliError::new("the temporary directory's name is not UTF-8").hint("TMPDIR=/tmp lariat demo")
    })
}
