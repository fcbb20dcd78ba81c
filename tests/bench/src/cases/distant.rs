//! One file to a server 50 ms away in each direction, and through the same proxy without a delay. A tool that
//! limits its data in flight is slowed down.
//!
//! The proxy takes whatever it is given, as a network with room for it does, so that the kernel's own windows
//! are not what is measured.
//! windows are not what is measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lariat_testing::faulty::{Fault, Faulty};

use super::size;
use crate::bar::Bar;
use crate::measure::{Meter, Sample};
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage, empty, same};
use crate::stats::Spread;
use crate::table::{Row, Table};
use crate::tools::ssh::Cipher;
use crate::tools::{Way, lariat};

const NEAR: &str = "lariat, no delay";
const FAR: &str = "lariat, 50 ms each way";
/// Measures the round trips before the first byte and after the last one.
const GREETING: &str = "lariat, one byte, 50 ms each way";

const DELAY: Duration = Duration::from_millis(50);

/// Few rounds, because the slow ones are very slow.
const MOST_ROUNDS: u32 = 3;

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size / 8;
    let case = "distant";
    let (from, byte) = (stage.source("source", bytes), stage.source("byte", 1));
    let run = Run { stage, directory: stage.directory(case) };
    let proxy = |port: u16, delay| {
        Faulty::start(SocketAddr::from(([127, 0, 0, 1], port)), Fault { delay, ..Fault::default() })
    };
    let agent = stage.agent.address.port();
    let (near, far) = (proxy(agent, Duration::ZERO), proxy(agent, DELAY));
    let ssh = stage.ssh.as_ref().map_err(Clone::clone);
    let ssh = ssh.map(|ssh| (ssh, proxy(ssh.port(), DELAY)));
    let daemon = stage.rsync_daemon.as_ref().map_err(Clone::clone);
    let daemon = daemon.map(|daemon| (daemon, proxy(daemon.port(), DELAY)));
    let to = run.directory.join("copy");
    let contenders = vec![
        Contender::new(NEAR, |round| run.lariat(round, &from, &near)),
        Contender::new(FAR, |round| run.lariat(round, &from, &far)),
        Contender::new(GREETING, |round| run.lariat(round, &byte, &far)),
        Contender::maybe("scp, aes128-gcm, 50 ms", ssh, |round, (ssh, proxy)| {
            let meter = Meter { server: vec![ssh.pid()], ..stage.local_meter() };
            let port = proxy.address.port().to_string();
            let options = ["-P", port.as_str()];
            let cipher = Cipher::Aes128Gcm;
            let command = ssh.scp(stage, cipher, Way::Push, &options, &from, &to);
            run.measure(round, &meter, &from, command)
        }),
        Contender::maybe("rsync daemon, plaintext, 50 ms", daemon, |round, (daemon, proxy)| {
            let meter = Meter { server: vec![daemon.pid()], ..stage.local_meter() };
            let (port, options) = (proxy.address.port(), ["--whole-file"]);
            let command = daemon.copy_by(port, stage, Way::Push, &options, &from, &to);
            run.measure(round, &meter, &from, command)
        }),
    ];
    let rounds = stage.options.rounds.min(MOST_ROUNDS);
    let rows = interleave(case, rounds, contenders, &stage.options);
    let title = format!("Push of one new file, {}, through a proxy", size(bytes));
    let mut table = Table { case, title, bytes: None, rows, bars: Vec::new() };
    let walls = |name| table.row(name).map(Row::walls).unwrap_or_default();
    let (far, greeting) = (walls(FAR), walls(GREETING));
    let moving: Vec<f64> = far.iter().zip(greeting).map(|(far, greeting)| far - greeting).collect();
    let ratio = Spread::of_ratios(&moving, &walls(NEAR));
    let words = "distant: share of the time without delay, greetings aside";
    table.bars = vec![Bar::at_most(words, 1.25, "", ratio)];
    stage.fleet.set_address(HOST, stage.agent.address);
    table
}

struct Run<'a> {
    stage: &'a Stage,
    directory: PathBuf,
}

impl Run<'_> {
    fn lariat(&self, round: u32, from: &Path, proxy: &Faulty) -> Result<Sample, String> {
        let Self { stage, .. } = self;
        stage.fleet.set_address(HOST, proxy.address);
        let command = lariat::copy(stage, Way::Push, from, &self.directory.join("copy"));
        self.measure(round, &stage.agent_meter(), from, command)
    }

    fn measure(
        &self,
        round: u32,
        meter: &Meter,
        from: &Path,
        mut command: Command,
    ) -> Result<Sample, String> {
        let measured = meter.run(&mut command)?;
        if round == 0 {
            same(from, &self.directory.join("copy"))?;
        }
        empty(&self.directory)?;
        Ok(measured.sample)
    }
}
