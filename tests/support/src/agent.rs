//! A running `lariatd`, with its log and its process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};

use crate::binaries::binaries;
use crate::wait;

/// A running agent. Dropping it kills the agent.
pub struct Agent {
    child: Child,
    /// Where the agent listens; `0.0.0.0:0` if that is nowhere.
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    /// How many lines of the log [`Agent::wait_for`] has consumed.
    consumed: AtomicUsize,
    config: PathBuf,
}

/// `lariatd` with this configuration, and without a service manager's environment.
pub fn lariatd(config: &Path) -> Command {
    let mut command = Command::new(&binaries().lariatd);
    command.arg("--config").arg(config);
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// A loopback address that other programs are unlikely to use, with a port that the system picks.
///
/// An agent that is restarted needs the same port again. Connections to 127.0.0.1 come from ports of that
/// address, so one of them could have taken the port meanwhile.
pub fn anywhere() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, a, b, c] = ((std::process::id() << 8) ^ count).to_be_bytes();
    SocketAddr::from(([127, 128 | a, b, c], 0))
}

impl Agent {
    /// Starts the agent of a bundle at an address.
    pub fn start(config: PathBuf, listen: SocketAddr) -> Self {
        Self::start_by(config, listen, |_| {})
    }

    /// Starts the agent of a bundle at an address, after changes to its command.
    pub fn start_by(
        config: PathBuf,
        listen: SocketAddr,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = lariatd(&config);
        command.arg("--listen").arg(listen.to_string());
        change(&mut command);
        Self::spawn(command, config)
    }

    /// Starts the agent of a bundle that listens nowhere.
    pub fn start_dialling(config: PathBuf) -> Self {
        Self::start_dialling_by(config, |_| {})
    }

    /// Starts the agent of a bundle that listens nowhere, after changes to its command.
    pub fn start_dialling_by(config: PathBuf, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = lariatd(&config);
        for variable in ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(variable);
        }
        change(&mut command);
        Self::spawn(command, config)
    }

    /// Starts an agent with a given command.
    pub fn spawn(command: Command, config: PathBuf) -> Self {
        Self::spawn_with(command, config, Stdio::null())
    }

    /// Starts an agent with a given command and stdin.
    ///
    /// # Panics
    /// If the agent ends before it listens.
    pub fn spawn_with(mut command: Command, config: PathBuf, stdin: Stdio) -> Self {
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lariatd can be run");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut log = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("lariatd ended before it listened: {log:?}");
            };
            let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
            let nowhere = line.contains("listening nowhere").then_some(nowhere);
            let address = line.split("listening on ").nth(1).and_then(|rest| {
                rest.split_whitespace().next().and_then(|address| address.parse().ok())
            });
            log.push(line);
            if let Some(address) = address.or(nowhere) {
                break address;
            }
        };
        let consumed = AtomicUsize::new(log.len());
        let log = Arc::new(Mutex::new(log));
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| copy.lock().expect("no panic").push(line));
        });
        Self { child, address, log, consumed, config }
    }

    /// What the agent has logged so far.
    ///
    /// # Panics
    /// Never.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic while it is held").clone()
    }

    /// Waits for a line that contains `part`, after the line that the last call returned.
    ///
    /// # Panics
    /// If none appears within [`wait::PATIENCE`].
    pub fn wait_for(&self, part: &str) -> String {
        wait::until_or(
            || {
                let log = self.log.lock().expect("no panic while it is held");
                let consumed = self.consumed.load(Ordering::Relaxed);
                let place = log.iter().skip(consumed).position(|line| line.contains(part))?;
                self.consumed.store(consumed + place + 1, Ordering::Relaxed);
                Some(log[consumed + place].clone())
            },
            || format!("{part:?} in:\n{}", self.log().join("\n")),
        )
    }

    /// The agent's process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The agent's directory for jobs and sockets.
    pub fn state(&self) -> PathBuf {
        self.config.parent().unwrap_or(Path::new("/")).join("state")
    }

    /// The directory of the job of this id, if there is one.
    ///
    /// # Panics
    /// When its jobs can't be listed.
    pub fn find_job(&self, id: &str) -> Option<PathBuf> {
        let jobs = std::fs::read_dir(self.state().join("jobs")).expect("its jobs can be listed");
        let mut jobs = jobs.flatten().map(|entry| entry.path());
        jobs.find(|path| path.to_string_lossy().ends_with(&format!("-{id}")))
    }

    /// The directory of the job of this id.
    ///
    /// # Panics
    /// When there is none.
    pub fn job_directory(&self, id: &str) -> PathBuf {
        self.find_job(id).expect("the job has a directory")
    }

    /// Sends the agent a signal.
    ///
    /// # Panics
    /// If the agent has ended.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the agent is there");
    }

    /// Waits for the agent's end.
    ///
    /// # Panics
    /// If waiting fails.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it is our child")
    }

    /// Whether the agent has ended.
    ///
    /// # Panics
    /// If its status can't be queried.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Kills the agent with SIGKILL and restarts it at the same address.
    pub fn kill_and_restart(&mut self) {
        self.signal(Signal::KILL);
        self.restart();
    }

    /// Waits for the agent's end and restarts it at the same address.
    pub fn restart(&mut self) {
        self.wait();
        *self = Self::start(self.config.clone(), self.address);
    }

    /// A value of `/proc/PID/status` in KiB, such as `VmRSS`.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn memory_kib(&self, figure: &str) -> u64 {
        memory_kib(self.pid(), figure).expect("the agent is there")
    }

    /// The number of the agent's open descriptors.
    ///
    /// # Panics
    /// If the agent has ended.
    pub fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(directory).expect("the agent is there").count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A value of a process's `/proc/PID/status` in KiB, such as `VmHWM`; `None` if the process has ended.
pub fn memory_kib(pid: Pid, figure: &str) -> Option<u64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with(figure))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
