//! A push whose client is killed when half of the file has arrived, and which is then run again.
//!
//! Only the second run is measured. How much has arrived is judged by the blocks of the largest file in the
//! destination's directory, which every tool here writes in order.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lariat_wire::limits::CHUNK;

use super::size;
use crate::bar::Bar;
use crate::measure::{Measured, Meter, Sample};
use crate::rounds::{Contender, interleave};
use crate::stage::{Stage, empty, same};
use crate::stats::{Spread, as_f64};
use crate::table::{Row, Table};
use crate::tools::ssh::Cipher;
use crate::tools::{Way, lariat, rsync};

const AGAIN: &str = "lariat, again";
const RSYNC: &str = "rsync --append-verify over ssh, aes128-gcm, again";
const SFTP: &str = "sftp reput, aes128-gcm, unverified, again";

/// How often the destination is checked.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size;
    let source = stage.source("source", bytes);
    let run = Run { stage, from: &source, directory: stage.directory("resume"), bytes };
    let mut twice = Vec::new();
    let contenders = run.contenders(&mut twice);
    let rows = interleave("resume", stage.options.rounds, contenders, &stage.options);
    let title = format!("Push of one file, {}, killed at half and run again", size(bytes));
    let mut table = Table { case: "resume", title, bytes: None, rows, bars: Vec::new() };
    let first = table.row(AGAIN).and_then(Row::first);
    let ratio = table.ratio(AGAIN, lariat::NAME);
    let chunk = as_f64(CHUNK as u64) / 1e6;
    table.bars = vec![
        Bar::at_most("resume: share of a full push's time", 0.7, "", ratio),
        Bar::at_most("resume: seconds until the first new byte", 1.0, "", first),
        Bar::at_most("resume: MB sent twice (one chunk)", chunk, "", Spread::of(twice)),
        Bar::at_least(
            "resume: times as fast as rsync --append-verify",
            2.5,
            "",
            table.ratio(RSYNC, AGAIN),
        ),
    ];
    table
}

struct Run<'a> {
    stage: &'a Stage,
    from: &'a Path,
    directory: PathBuf,
    bytes: u64,
}

impl Run<'_> {
    fn contenders<'a>(&'a self, twice: &'a mut Vec<f64>) -> Vec<Contender<'a>> {
        let Self { stage, from, .. } = *self;
        let to = self.directory.join("copy");
        let [to_lariat, to_again, to_rsync, to_sftp] = std::array::from_fn(|_| to.clone());
        let rsync = stage.tools.get("rsync");
        let ssh = || stage.ssh.as_ref().map_err(Clone::clone);
        vec![
            Contender::new(lariat::NAME, move |_| {
                let mut command = lariat::copy(stage, Way::Push, from, &to_lariat);
                stage.warm(self.bytes)?;
                let measured = stage.agent_meter().run(&mut command)?;
                empty(&self.directory)?;
                lariat::sample(measured)
            }),
            Contender::new(AGAIN, move |round| {
                let command = || Ok(lariat::copy(stage, Way::Push, from, &to_again));
                let meter = stage.agent_meter();
                let (there, measured) = self.again(round, &meter, command)?;
                let sample = lariat::sample(measured)?;
                let needed = self.bytes.saturating_sub(there);
                let sent = sample.sent.unwrap_or_default();
                twice.push(as_f64(sent.saturating_sub(needed)) / 1e6);
                Ok(sample)
            }),
            Contender::maybe(RSYNC, ssh().and_then(|ssh| Ok((ssh, rsync?))), move |round, tool| {
                let tool = (tool.0, tool.1.as_path());
                let meter = Meter { server: vec![tool.0.pid()], ..stage.local_meter() };
                let (way, options) = (Way::Push, ["--append-verify", "--stats"]);
                let cipher = Cipher::Aes128Gcm;
                let command =
                    || Ok(rsync::over_ssh(stage, tool, cipher, way, &options, from, &to_rsync));
                rsync::sample_with_sent(self.again(round, &meter, command)?.1)
            }),
            Contender::maybe(SFTP, ssh(), move |round, ssh| {
                let meter = Meter { server: vec![ssh.pid()], ..stage.local_meter() };
                let mut verb = "put";
                let command = || {
                    let cipher = Cipher::Aes128Gcm;
                    ssh.sftp(stage, cipher, std::mem::replace(&mut verb, "reput"), from, &to_sftp)
                };
                Ok(self.again(round, &meter, command)?.1.sample)
            }),
        ]
    }

    /// Runs a command until half of the file has arrived, then measures the command that resumes it. Returns
    /// how many bytes had arrived.
    fn again(
        &self,
        round: u32,
        meter: &Meter,
        mut command: impl FnMut() -> Result<Command, String>,
    ) -> Result<(u64, Measured), String> {
        let before = meter.descendants();
        self.stage.warm(self.bytes)?;
        self.interrupted(command()?)?;
        meter.settle(before);
        let there = written(&self.directory);
        let watch = Watch::start(self.directory.clone(), there);
        let measured = meter.run(&mut command()?);
        let first = watch.finish();
        let Measured { sample, output } = measured?;
        if round == 0 {
            same(self.from, &self.directory.join("copy"))?;
        }
        empty(&self.directory)?;
        Ok((there, Measured { sample: Sample { first, ..sample }, output }))
    }

    fn interrupted(&self, mut command: Command) -> Result<(), String> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|e| format!("{command:?}: {e}"))?;
        while written(&self.directory) < self.bytes / 2 {
            if !matches!(child.try_wait(), Ok(None)) {
                return Err("it ended before half of the file was there".to_owned());
            }
            std::thread::park_timeout(LOOK);
        }
        child.kill().and_then(|()| child.wait()).map_err(|e| format!("kill it: {e}"))?;
        Ok(())
    }
}

/// Allocated bytes of the largest file in a directory.
fn written(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let blocks = entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.blocks());
    blocks.max().unwrap_or_default() * 512
}

/// A thread that waits for the first new byte.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Option<f64>>,
}

impl Watch {
    fn start(directory: PathBuf, there: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                if written(&directory) > there {
                    return Some(began.elapsed().as_secs_f64());
                }
                std::thread::park_timeout(LOOK);
            }
            None
        });
        Self { stop, thread }
    }

    fn finish(self) -> Option<f64> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("looking does not panic")
    }
}
