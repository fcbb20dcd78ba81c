//! The system calls with which lariat moves one file, counted by `strace` at both ends. Tracing slows them down: the
//! times mean nothing.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lariat_testing::binaries::binaries;
use rustix::process::{Pid, Signal, kill_process};

use super::size;
use crate::measure::Sample;
use crate::rounds::{Contender, interleave};
use crate::stage::{Stage, empty};
use crate::table::Table;
use crate::tools::{Way, lariat};

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size / 2;
    let source = stage.source("source", bytes);
    let directory = stage.directory("calls");
    let copy = directory.join("copy");
    let contender = |name, way| {
        let (source, copy, directory) = (&source, &copy, &directory);
        Contender::maybe(name, stage.tools.get("strace"), move |_, strace| {
            let sample = measure(stage, strace, way, source, copy)?;
            empty(directory)?;
            Ok(sample)
        })
    };
    let contenders = vec![
        contender("lariat push, traced", Way::Push),
        contender("lariat pull, traced", Way::Pull),
    ];
    let rows = interleave("calls", 1, contenders, &stage.options);
    let title = format!("System calls for one new file, {}", size(bytes));
    Table { case: "calls", title, bytes: None, rows, bars: Vec::new() }
}

fn measure(
    stage: &Stage,
    strace: &Path,
    way: Way,
    from: &Path,
    to: &Path,
) -> Result<Sample, String> {
    let [client, server] = ["client", "server"].map(|end| stage.temporary(&format!("{end}-calls")));
    let agent = Tracer::attach(stage, strace, stage.agent.pid(), &server)?;
    // Without further connections, whose number depends on the time.
    let mut command = stage.guard.command(strace);
    command.env("LARIAT_HOME", stage.fleet.home()).args(["-f", "-c", "-o"]).arg(&*client);
    command.arg(&binaries().lariat);
    let mut command = lariat::copy_by(command, way, from, to);
    command.args(["--streams", "1"]);
    let measured = stage.local_meter().run(&mut command)?;
    agent.end()?;
    let calls = Some([total(&client)?, total(&server)?]);
    Ok(Sample { calls, ..measured.sample })
}

/// A `strace` that counts the calls of a running process.
struct Tracer(Child);

impl Tracer {
    /// Starts to count, and writes the counts to `out` when it ends.
    fn attach(stage: &Stage, strace: &Path, pid: Pid, out: &Path) -> Result<Self, String> {
        let mut command: Command = stage.guard.command(strace);
        command.args(["-f", "-c", "-o"]).arg(out).arg("-p").arg(pid.as_raw_nonzero().to_string());
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| format!("strace can't be started: {e}"))?;
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        // "strace: Process 1234 attached", for each thread.
        if errors.read_line(&mut line).is_err() || !line.contains("attached") {
            return Err(format!("strace may not trace the agent: {line}"));
        }
        std::thread::spawn(move || errors.read_to_end(&mut Vec::new()));
        Ok(Self(child))
    }

    fn end(mut self) -> Result<(), String> {
        let interrupted = kill_process(Pid::from_child(&self.0), Signal::INT);
        interrupted.map_err(|e| format!("interrupt strace: {e}"))?;
        self.0.wait().map(drop).map_err(|e| format!("wait for strace: {e}"))
    }
}

/// The number of calls in the last line of what `strace -c` writes.
fn total(summary: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(summary).map_err(|e| format!("read the counts: {e}"))?;
    // Share, seconds, microseconds of a call, calls, and errors if there were any.
    let last = text.lines().last().filter(|line| line.ends_with("total"));
    let calls = last.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.ok_or(format!("strace wrote no counts: {text}"))
}
