//! One file of random bytes that the other end does not have, pushed or pulled.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::size;
use crate::bar::Bar;
use crate::measure::{Measured, Meter, Sample};
use crate::rounds::{Contender, interleave};
use crate::stage::{Stage, empty, same};
use crate::stats::{Spread, as_f64};
use crate::table::{Row, Table};
use crate::tools::ssh::{Cipher, Ssh};
use crate::tools::{Way, lariat, nc, rsync};

const SCP: &str = "scp, default cipher";
const SCP_AES: &str = "scp, aes128-gcm";
const SFTP: &str = "sftp, aes128-gcm, large buffers";
const RSYNC: &str = "rsync over ssh, aes128-gcm";
const RSYNC_DAEMON: &str = "rsync daemon, plaintext";
const NC: &str = "nc, plaintext";
const CP: &str = "cp";

/// The bar for both ends' CPU seconds per GiB.
const CPU: f64 = 2.1;

pub(crate) fn push(stage: &Stage) -> Table {
    copy(stage, Way::Push)
}

pub(crate) fn pull(stage: &Stage) -> Table {
    copy(stage, Way::Pull)
}

fn copy(stage: &Stage, way: Way) -> Table {
    let bytes = stage.options.size;
    let source = stage.source("source", bytes);
    let (case, title) = match way {
        Way::Push => ("push", format!("Push of one new file, {}", size(bytes))),
        Way::Pull => ("pull", format!("Pull of one new file, {}", size(bytes))),
    };
    let run = Run { stage, way, from: &source, directory: stage.directory(case) };
    let rows = interleave(case, stage.options.rounds, run.contenders(), &stage.options);
    let mut table = Table { case, title, bytes: Some(bytes), rows, bars: Vec::new() };
    table.bars = bars(&table, way);
    table
}

struct Run<'a> {
    stage: &'a Stage,
    way: Way,
    from: &'a Path,
    /// Where the copies go.
    directory: PathBuf,
}

impl Run<'_> {
    fn contenders(&self) -> Vec<Contender<'_>> {
        let Self { stage, way, from, .. } = *self;
        let to = self.directory.join("copy");
        let ssh = || stage.ssh.as_ref().map_err(Clone::clone);
        let scp = |name, cipher| {
            let to = to.clone();
            Contender::maybe(name, ssh(), move |round, ssh| {
                self.by_ssh(round, ssh, ssh.scp(stage, cipher, way, &[], from, &to))
            })
        };
        let rsync = stage.tools.get("rsync");
        let daemon = stage.rsync_daemon.as_ref().map_err(Clone::clone);
        let target = || to.clone();
        let [to_lariat, to_sftp, to_rsync, to_daemon, to_nc, to_cp] =
            std::array::from_fn(|_| target());
        vec![
            Contender::new(lariat::NAME, move |round| {
                let command = lariat::copy(stage, way, from, &to_lariat);
                lariat::sample(self.measure(round, &stage.agent_meter(), command)?)
            }),
            scp(SCP, Cipher::Default),
            scp(SCP_AES, Cipher::Aes128Gcm),
            Contender::maybe(SFTP, ssh(), move |round, ssh| {
                let verb = if way == Way::Push { "put" } else { "get" };
                self.by_ssh(round, ssh, ssh.sftp(stage, Cipher::Aes128Gcm, verb, from, &to_sftp)?)
            }),
            Contender::maybe(RSYNC, ssh().and_then(|ssh| Ok((ssh, rsync?))), move |round, tool| {
                let tool = (tool.0, tool.1.as_path());
                let options = ["--whole-file"];
                let to = &to_rsync;
                let cipher = Cipher::Aes128Gcm;
                self.by_ssh(
                    round,
                    tool.0,
                    rsync::over_ssh(stage, tool, cipher, way, &options, from, to),
                )
            }),
            Contender::maybe(RSYNC_DAEMON, daemon, move |round, daemon| {
                let meter = Meter { server: vec![daemon.pid()], ..stage.local_meter() };
                let command = daemon.copy(stage, way, &["--whole-file"], from, &to_daemon);
                Ok(self.measure(round, &meter, command)?.sample)
            }),
            Contender::maybe(NC, nc::find(&stage.tools), move |round, nc| {
                stage.warm(stage.options.size)?;
                let sample = nc::copy(stage, nc, way, from, &to_nc)?;
                self.end(round)?;
                Ok(sample)
            }),
            Contender::maybe(CP, stage.tools.get("cp"), move |round, cp| {
                let mut command = stage.guard.command(cp);
                command.arg(from).arg(&to_cp);
                Ok(self.measure(round, &stage.local_meter(), command)?.sample)
            }),
        ]
    }

    fn by_ssh(&self, round: u32, ssh: &Ssh, command: Command) -> Result<Sample, String> {
        let meter = Meter { server: vec![ssh.pid()], ..self.stage.local_meter() };
        Ok(self.measure(round, &meter, command)?.sample)
    }

    fn measure(&self, round: u32, meter: &Meter, mut command: Command) -> Result<Measured, String> {
        self.stage.warm(self.stage.options.size)?;
        let measured = meter.run(&mut command)?;
        self.end(round)?;
        Ok(measured)
    }

    /// Compares the first copy with its source, and removes each copy.
    fn end(&self, round: u32) -> Result<(), String> {
        if round == 0 {
            same(self.from, &self.directory.join("copy"))?;
        }
        empty(&self.directory)
    }
}

fn bars(table: &Table, way: Way) -> Vec<Bar> {
    let verb = table.case;
    let faster = |peer, times| {
        let words = format!("{verb}: times as fast as {peer}");
        Bar::at_least(words, times, "", table.ratio(peer, lariat::NAME))
    };
    let lariat = table.row(lariat::NAME);
    let cpu = lariat.and_then(|row| table.cpu_per_gib(row));
    let mib = |bytes: u64| as_f64(bytes) / as_f64(1 << 20);
    let memory = lariat.and_then(Row::memory).and_then(|ends| Spread::of(ends.map(mib)));
    let memory = memory.map(|Spread { min, max, .. }| Spread { median: max, min, max });
    vec![
        faster(SCP_AES, if way == Way::Push { 2.8 } else { 2.2 }),
        faster(SCP, 4.5),
        faster(RSYNC, 2.3),
        faster(RSYNC_DAEMON, 1.0),
        Bar::at_most(format!("{verb}: share of cp's time"), 1.5, "", table.ratio(lariat::NAME, CP)),
        Bar::at_most(format!("{verb}: CPU seconds a GiB, both ends"), CPU, "", cpu),
        Bar::at_most(format!("{verb}: MiB of memory, either end"), 64.0, "", memory),
        Bar::at_least(
            format!("{verb}: times as fast as nc (the aim beyond)"),
            1.0,
            "",
            table.ratio(NC, lariat::NAME),
        ),
    ]
}
