//! One run of one tool: wall time, and the resources that both ends used.
//!
//! The client's CPU time is what the kernel reports when the client is waited for, its children included. The
//! server's is the increase of its processes' CPU time, once everything that it started for the client has
//! ended.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::process::Pid;

use crate::process;
use crate::sampler::Sampler;
use crate::stats::as_f64;

/// The resources that one end of a run used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// CPU seconds.
    pub(crate) cpu: f64,
    /// The sum of its processes' peaks in bytes; `None` if it was not sampled.
    pub(crate) memory: Option<u64>,
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds from the start of the client's process to its end.
    pub(crate) wall: f64,
    pub(crate) client: End,
    pub(crate) server: End,
    /// Bytes sent, if the tool reports them.
    pub(crate) sent: Option<u64>,
    /// Seconds until the first new byte was at the destination, where that is measured.
    pub(crate) first: Option<f64>,
    /// CPU seconds of other processes during the run, and the length of that time in seconds.
    pub(crate) others: f64,
    pub(crate) window: f64,
}

/// The result of a run: its figures, and its stdout.
pub(crate) struct Measured {
    pub(crate) sample: Sample,
    pub(crate) output: String,
}

/// Measures runs against running servers.
pub(crate) struct Meter {
    /// Where outputs go: files, so that no process waits for the end of a pipe.
    pub(crate) directory: PathBuf,
    /// Processes of the client that keep running, such as a master connection.
    pub(crate) client: Vec<Pid>,
    /// The server's processes that keep running.
    pub(crate) server: Vec<Pid>,
    /// Whether to sample memory, which costs a little time.
    pub(crate) memory: bool,
    /// Whether the client's output is discarded.
    pub(crate) discard: bool,
}

/// How long a server may take to end its work for a client.
const SETTLE: Duration = Duration::from_secs(3);
/// A server whose CPU time does not change for this long has settled: more than one tick of the kernel.
const STILL: Duration = Duration::from_millis(12);

impl Meter {
    /// Runs a client to its end.
    pub(crate) fn run(&self, client: &mut Command) -> Result<Measured, String> {
        self.run_against(client, None)
    }

    /// Runs a client to its end, and a server that ends with it.
    pub(crate) fn run_against(
        &self,
        client: &mut Command,
        mut server: Option<Child>,
    ) -> Result<Measured, String> {
        self.server.iter().chain(&self.client).for_each(|&pid| process::forget_peak(pid));
        let descendants = self.descendants();
        let (out, err) = (self.directory.join("stdout"), self.directory.join("stderr"));
        let file = |path| File::create(path).map_err(|e| format!("make a file for output: {e}"));
        let stdout = if self.discard { Stdio::null() } else { file(&out)?.into() };
        client.stdout(stdout).stderr(file(&err)?);

        let before = Usage::now(self);
        let window = Instant::now();
        let began = Instant::now();
        let mut child = client.spawn().map_err(|e| format!("{client:?}: {e}"))?;
        let sampler = self.memory.then(|| {
            let server = server.iter().map(Pid::from_child).chain(self.server.iter().copied());
            let client = self.client.iter().copied().chain([Pid::from_child(&child)]);
            Sampler::start([client.collect(), server.collect()])
        });
        let status = wait(&mut child)?;
        let client_waited = children_cpu();
        let mut failed = (!status.success()).then_some(status);
        if let Some(server) = &mut server {
            if failed.is_some() {
                // Otherwise it would wait for another client.
                let _ = server.kill();
            }
            let status = wait(server)?;
            failed = failed.or((!status.success()).then_some(status));
        }
        let wall = began.elapsed().as_secs_f64();
        let server_waited = children_cpu() - client_waited;
        let memory = sampler.map(Sampler::finish);
        self.settle(descendants);
        let after = Usage::now(self);
        let window = window.elapsed().as_secs_f64();

        if let Some(status) = failed {
            let said = std::fs::read_to_string(&err).unwrap_or_default();
            return Err(format!("{status}: {}", said.trim()));
        }
        let used = after.since(&before);
        let sample = Sample {
            wall,
            client: End {
                cpu: used.client + client_waited - before.children,
                memory: memory.map(|[client, _]| client),
            },
            server: End {
                cpu: used.server + server_waited,
                memory: memory.map(|[_, server]| server),
            },
            others: (used.machine - used.client - used.server - used.children - used.own).max(0.0),
            window,
            ..Sample::default()
        };
        let output = if self.discard {
            String::new()
        } else {
            String::from_utf8_lossy(&std::fs::read(&out).unwrap_or_default()).into_owned()
        };
        Ok(Measured { sample, output })
    }

    /// Waits until the servers have ended their work for a client: until they have at most this many
    /// processes, and these use no CPU time.
    pub(crate) fn settle(&self, descendants: usize) {
        let began = Instant::now();
        let mut last = (f64::NAN, usize::MAX);
        while began.elapsed() < SETTLE {
            let now = (tree_cpu(&self.server), self.descendants());
            if now == last && now.1 <= descendants {
                return;
            }
            last = now;
            if !self.server.is_empty() {
                std::thread::park_timeout(STILL);
            }
        }
    }

    /// The number of the servers' processes.
    pub(crate) fn descendants(&self) -> usize {
        self.server.iter().map(|&pid| process::tree(pid).len()).sum()
    }
}

/// CPU seconds so far.
struct Usage {
    client: f64,
    server: f64,
    children: f64,
    own: f64,
    machine: f64,
}

impl Usage {
    fn now(meter: &Meter) -> Self {
        Self {
            client: tree_cpu(&meter.client),
            server: tree_cpu(&meter.server),
            children: children_cpu(),
            own: usage(UsageWho::RUSAGE_SELF),
            machine: process::machine_cpu(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            client: self.client - before.client,
            server: self.server - before.server,
            children: self.children - before.children,
            own: self.own - before.own,
            machine: self.machine - before.machine,
        }
    }
}

/// CPU seconds of processes, of their descendants, and of descendants that have ended.
fn tree_cpu(roots: &[Pid]) -> f64 {
    roots.iter().flat_map(|&root| process::tree(root)).map(process::cpu).sum()
}

/// CPU seconds of our children that were waited for, their own children included.
fn children_cpu() -> f64 {
    usage(UsageWho::RUSAGE_CHILDREN)
}

fn usage(who: UsageWho) -> f64 {
    let seconds = |time: TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        as_f64(micros.unsigned_abs()) / 1e6
    };
    getrusage(who).map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    child.wait().map_err(|e| format!("wait for a child: {e}"))
}
