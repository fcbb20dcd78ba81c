//! Directories: 10,000 files of 4 KiB for the first time, unchanged, and with 1% changed; 1,000 of them 50 ms
//! away; and the resources that both ends need for 200,000.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lariat_testing::faulty::{Fault, Faulty};
use lariat_testing::files::random_file;

use crate::bar::Bar;
use crate::measure::{Measured, Meter};
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage};
use crate::stats::Spread;
use crate::table::{Row, Table};
use crate::tools::ssh::Cipher;
use crate::tools::{Way, lariat, rsync};

const RSYNC: &str = "rsync over ssh, aes128-gcm";
const RSYNC_DAEMON: &str = "rsync daemon, plaintext";

/// Files per directory.
const IN_ONE: u64 = 100;
const FILE: u64 = 4096;

/// One in this many files is changed.
const CHANGED: u64 = 100;

const DELAY: Duration = Duration::from_millis(50);

/// What is at the destination before a run.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    TheSame,
    OnePercentOld,
}

pub(crate) fn fresh(stage: &Stage) -> Table {
    let title = "Push of a new directory, 10,000 files of 4 KiB";
    compare(stage, "tree", title, Before::Nothing, 2.5)
}

pub(crate) fn same(stage: &Stage) -> Table {
    let title = "The same directory, nothing changed";
    compare(stage, "tree-same", title, Before::TheSame, 3.0)
}

pub(crate) fn changed(stage: &Stage) -> Table {
    let title = "The same directory, 1% of the files changed";
    compare(stage, "tree-changed", title, Before::OnePercentOld, 3.0)
}

fn compare(stage: &Stage, case: &'static str, title: &str, before: Before, bar: f64) -> Table {
    let run = Run::new(stage, case, 10_000, FILE);
    let rows = interleave(case, stage.options.rounds, run.contenders(before), &stage.options);
    let mut table = Table { case, title: title.to_owned(), bytes: None, rows, bars: Vec::new() };
    let ratio = |over| table.ratio(over, lariat::NAME);
    let words = |peer: &str| format!("{case}: times as fast as {peer}");
    table.bars = vec![
        Bar::at_least(words("rsync over ssh"), bar, "", ratio(RSYNC)),
        Bar::at_least(words("the rsync daemon"), 1.0, "", ratio(RSYNC_DAEMON)),
    ];
    table
}

pub(crate) fn distant(stage: &Stage) -> Table {
    const FAR: &str = "lariat, 50 ms each way";
    let case = "tree-distant";
    let run = Run::new(stage, case, 1000, FILE);
    let proxy = |port: u16| {
        let fault = Fault { delay: DELAY, ..Fault::default() };
        Faulty::start(SocketAddr::from(([127, 0, 0, 1], port)), fault)
    };
    let far = proxy(stage.agent.address.port());
    let daemon = stage.rsync_daemon.as_ref().map_err(Clone::clone);
    let daemon = daemon.map(|daemon| (daemon, proxy(daemon.port())));
    let contenders = vec![
        Contender::new(FAR, |round| {
            stage.fleet.set_address(HOST, far.address);
            let command = lariat::copy(stage, Way::Push, &run.source.join(""), &run.copy());
            lariat::sample(run.measure(round, &stage.agent_meter(), Before::Nothing, command)?)
        }),
        Contender::maybe("rsync daemon, plaintext, 50 ms", daemon, |round, (daemon, proxy)| {
            let meter = Meter { server: vec![daemon.pid()], ..stage.local_meter() };
            let (port, from) = (proxy.address.port(), run.source.join(""));
            let options = ["--recursive"];
            let command = daemon.copy_by(port, stage, Way::Push, &options, &from, &run.copy());
            Ok(run.measure(round, &meter, Before::Nothing, command)?.sample)
        }),
    ];
    let rows = interleave(case, stage.options.rounds.min(3), contenders, &stage.options);
    let title = "Push of a new directory, 1,000 files of 4 KiB, through a proxy".to_owned();
    let mut table = Table { case, title, bytes: None, rows, bars: Vec::new() };
    let wall = table.row(FAR).and_then(Row::wall);
    table.bars = vec![Bar::at_most("tree-distant: seconds", 2.0, "s", wall)];
    stage.fleet.set_address(HOST, stage.agent.address);
    table
}

pub(crate) fn many(stage: &Stage) -> Table {
    let case = "tree-many";
    let run = Run::new(stage, case, 200_000, 100);
    let contender = Contender::new(lariat::NAME, |round| {
        let command = lariat::copy(stage, Way::Push, &run.source.join(""), &run.copy());
        lariat::sample(run.measure(round, &stage.agent_meter(), Before::Nothing, command)?)
    });
    let rounds = stage.options.rounds.min(3);
    let rows = interleave(case, rounds, vec![contender], &stage.options);
    let title = "Push of a new directory, 200,000 files of 100 bytes".to_owned();
    let mut table = Table { case, title, bytes: None, rows, bars: Vec::new() };
    let memory = table.row(lariat::NAME).and_then(Row::memory);
    let larger = memory.and_then(|ends| ends.into_iter().max());
    let larger =
        larger.map(crate::stats::as_f64).and_then(|bytes| Spread::of([bytes / 1_048_576.0]));
    table.bars = vec![Bar::at_most("tree-many: memory of the larger end", 64.0, "MiB", larger)];
    table
}

struct Run<'a> {
    stage: &'a Stage,
    source: PathBuf,
    directory: PathBuf,
}

impl<'a> Run<'a> {
    fn new(stage: &'a Stage, case: &str, files: u64, size: u64) -> Self {
        let source = stage.directory(&format!("{case}-source"));
        for file in 0..files {
            let directory = source.join(format!("directory{:04}", file / IN_ONE));
            if file % IN_ONE == 0 {
                fs::create_dir(&directory).expect("the directory for files has room");
            }
            random_file(&directory.join(format!("file{:02}", file % IN_ONE)), size, file);
        }
        Self { stage, source, directory: stage.directory(case) }
    }

    fn copy(&self) -> PathBuf {
        self.directory.join("copy")
    }

    fn contenders(&self, before: Before) -> Vec<Contender<'_>> {
        let Self { stage, source, .. } = self;
        let (from, to) = (source.join(""), self.copy());
        let rsync = stage.tools.get("rsync");
        let ssh = stage.ssh.as_ref().map_err(Clone::clone);
        let daemon = stage.rsync_daemon.as_ref().map_err(Clone::clone);
        let options = ["--recursive", "--stats"];
        let (from_by_daemon, to_by_daemon) = (from.clone(), to.clone());
        vec![
            Contender::new(lariat::NAME, move |round| {
                let command = lariat::copy(stage, Way::Push, &source.join(""), &self.copy());
                lariat::sample(self.measure(round, &stage.agent_meter(), before, command)?)
            }),
            Contender::maybe(RSYNC, ssh.and_then(|ssh| Ok((ssh, rsync?))), move |round, tool| {
                let tool = (tool.0, tool.1.as_path());
                let meter = Meter { server: vec![tool.0.pid()], ..stage.local_meter() };
                let cipher = Cipher::Aes128Gcm;
                let command = rsync::over_ssh(stage, tool, cipher, Way::Push, &options, &from, &to);
                rsync::sample_with_sent(self.measure(round, &meter, before, command)?)
            }),
            Contender::maybe(RSYNC_DAEMON, daemon, move |round, daemon| {
                let meter = Meter { server: vec![daemon.pid()], ..stage.local_meter() };
                let (from, to) = (&from_by_daemon, &to_by_daemon);
                let command = daemon.copy(stage, Way::Push, &options, from, to);
                rsync::sample_with_sent(self.measure(round, &meter, before, command)?)
            }),
        ]
    }

    fn measure(
        &self,
        round: u32,
        meter: &Meter,
        before: Before,
        mut command: Command,
    ) -> Result<Measured, String> {
        let copy = self.copy();
        self.prepare(before).map_err(|e| format!("prepare the copy: {e}"))?;
        let measured = meter.run(&mut command)?;
        if round == 0 {
            let mut diff = Command::new("diff");
            let same = diff.arg("-r").args([&self.source, &copy]).status();
            if !same.is_ok_and(|status| status.success()) {
                return Err("the copy differs from its source".to_owned());
            }
        }
        fs::remove_dir_all(&copy).map_err(|e| format!("remove the copy: {e}"))?;
        Ok(measured)
    }

    fn prepare(&self, before: Before) -> std::io::Result<()> {
        if matches!(before, Before::Nothing) {
            return Ok(());
        }
        let copy = self.copy();
        Command::new("cp").arg("-a").args([&self.source, &copy]).status()?;
        if matches!(before, Before::OnePercentOld) {
            for (directory, file) in (0..IN_ONE).zip((0..IN_ONE).cycle()) {
                let name = format!("directory{directory:04}/file{:02}", file * 7 % CHANGED);
                let file = copy.join(Path::new(&name));
                random_file(&file, FILE, u64::MAX - directory);
                fs::File::options()
                    .write(true)
                    .open(&file)?
                    .set_modified(std::time::UNIX_EPOCH + Duration::from_secs(directory))?;
            }
        }
        Ok(())
    }
}
