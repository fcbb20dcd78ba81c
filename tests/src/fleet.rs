//! A fleet of a test's own: a controller's home, and agents on loopback.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};

use crate::binaries::binaries;

/// A controller's home and its agents, in a directory that goes with it.
pub struct TestFleet {
    directory: tempfile::TempDir,
}

/// A running agent. It is killed when this is dropped.
pub struct Agent {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    config: PathBuf,
}

impl Default for TestFleet {
    fn default() -> Self {
        Self::new()
    }
}

impl TestFleet {
    /// Makes a fleet without hosts.
    ///
    /// # Panics
    /// When `lariat init` fails.
    pub fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("lariat-test-").tempdir().expect("a directory");
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(directory.path().join("work"))
            .expect("a directory");
        let fleet = Self { directory };
        fleet.ok(["init"]);
        fleet
    }

    /// A fleet with one host, `web1`, and its running agent.
    pub fn with_agent() -> (Self, Agent) {
        let fleet = Self::new();
        let agent = fleet.agent("web1");
        (fleet, agent)
    }

    /// A path in the test's own directory, which is not the controller's home.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join("work").join(name.as_ref())
    }

    /// The controller's home.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The directory with a host's bundle.
    pub fn bundle(&self, host: &str) -> PathBuf {
        self.directory.path().join(format!("{host}.lariat"))
    }

    /// `lariat`, with this fleet's home and nothing of the test's own environment.
    pub fn lariat(&self) -> Command {
        let mut command = Command::new(&binaries().lariat);
        command.env_clear().env("LARIAT_HOME", self.home()).env("HOME", self.directory.path());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir(self.directory.path().join("work")).stdin(Stdio::null());
        command
    }

    /// Runs `lariat` with these arguments to its end.
    ///
    /// # Panics
    /// When it can't be run, and when it panicked: that is no way to report anything.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        let output = self.lariat().args(args).output().expect("lariat can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() != Some(101) && !errors.contains("panicked"), "{errors}");
        output
    }

    /// Runs `lariat`, which must succeed, and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `lariat`, which must fail with this exit code and one line, which is returned.
    ///
    /// # Panics
    /// When it does anything else.
    pub fn fails<A: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = A>) -> String {
        let output = self.run(args);
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
        errors
    }

    /// Enrols a host and starts its agent on a port that the system picks.
    pub fn agent(&self, host: &str) -> Agent {
        self.enroll(host, "127.0.0.1:1");
        let agent = self.start(host);
        self.set_address(host, agent.address);
        agent
    }

    /// Issues a host's bundle.
    pub fn enroll(&self, host: &str, address: &str) {
        let bundle = self.bundle(host);
        self.ok([
            OsStr::new("enroll"),
            host.as_ref(),
            "--address".as_ref(),
            address.as_ref(),
            "--out".as_ref(),
            bundle.as_os_str(),
        ]);
    }

    /// Starts the agent of an enrolled host, [`anywhere`].
    pub fn start(&self, host: &str) -> Agent {
        Agent::start(self.bundle(host).join("agent.toml"), anywhere())
    }

    /// Tells the controller that a host is somewhere else, such as behind a proxy.
    ///
    /// # Panics
    /// When the inventory has no such host.
    pub fn set_address(&self, host: &str, address: SocketAddr) {
        let path = self.home().join("hosts.toml");
        let text = std::fs::read_to_string(&path).expect("an inventory");
        let section = text.find(&format!("\n[hosts.{host}]\n")).expect("the host's section");
        let (before, after) = text.split_at(section);
        let start = after.find("address = ").expect("the host's address");
        let end = start + after[start..].find('\n').expect("a line's end");
        let text = format!("{before}{}address = \"{address}\"{}", &after[..start], &after[end..]);
        std::fs::write(&path, text).expect("the inventory can be written");
    }
}

/// An address of loopback that nobody else is likely to have, with a port that the system picks.
///
/// An agent that is started again wants its port again, and connections to 127.0.0.1 come from ports of
/// that address: one of them could have taken it meanwhile.
pub fn anywhere() -> SocketAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, a, b, c] = ((std::process::id() << 4) ^ count).to_be_bytes();
    SocketAddr::from(([127, 128 | a, b, c], 0))
}

impl Agent {
    fn start(config: PathBuf, listen: SocketAddr) -> Self {
        let mut command = Command::new(&binaries().lariatd);
        command.arg("--config").arg(&config).arg("--listen").arg(listen.to_string());
        Self::spawn(command, config)
    }

    /// Starts an agent by a command of the test's own.
    ///
    /// # Panics
    /// When it ends before it listens.
    pub fn spawn(mut command: Command, config: PathBuf) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lariatd can be run");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("lariatd ended before it listened: {:?}", log.lock().expect("no panic"));
            };
            let address = line.split("listening on ").nth(1).and_then(|rest| {
                rest.split_whitespace().next().and_then(|address| address.parse().ok())
            });
            log.lock().expect("no panic").push(line);
            if let Some(address) = address {
                break address;
            }
        };
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().expect("no panic").push(line));
        });
        Self { child, address, log, config }
    }

    /// What it has logged so far.
    ///
    /// # Panics
    /// Never.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic while it is held").clone()
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its directory for jobs and sockets.
    pub fn state(&self) -> PathBuf {
        self.config.parent().unwrap_or(Path::new("/")).join("state")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the agent is there");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it can't be waited for.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("it is our child")
    }

    /// Whether it is not there any more.
    ///
    /// # Panics
    /// When it can't be waited for.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Kills it without a word and starts it again at the same address.
    pub fn kill_and_restart(&mut self) {
        self.signal(Signal::KILL);
        self.restart();
    }

    /// Waits for its end and starts it again at the same address.
    pub fn restart(&mut self) {
        self.wait();
        *self = Self::start(self.config.clone(), self.address);
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmRSS`.
    ///
    /// # Panics
    /// When there is no such figure.
    pub fn memory_kib(&self, figure: &str) -> u64 {
        memory_kib(self.pid(), figure).expect("the agent is there")
    }

    /// How many descriptors it has open.
    ///
    /// # Panics
    /// When it is not there any more.
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

/// A figure of a process's `/proc/PID/status` in KiB, such as `VmHWM`; none of one that has ended.
pub fn memory_kib(pid: Pid, figure: &str) -> Option<u64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with(figure))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A file of `size` bytes that do not compress and differ by `seed`.
///
/// # Panics
/// When it can't be written.
pub fn random_file(path: &Path, size: u64, seed: u64) {
    use std::io::{Read, copy};
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut block = vec![0_u8; 64 * 1024];
    let mut source = std::iter::from_fn(move || {
        for word in block.chunks_exact_mut(8) {
            // xorshift64*: fast, and nothing that a compressor finds.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            word.copy_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        Some(block.clone())
    });
    let mut left = size;
    let mut file = File::create(path).expect("the file can be made");
    while left > 0 {
        let block = source.next().expect("it never ends");
        left -= copy(&mut block.as_slice().take(left), &mut file).expect("the file can be written");
    }
}
