//! One file to many hosts: lariat, which reads it once, and clush, which starts an scp for each host.
//!
//! The other tools' hosts are one machine under many names, so all of clush's copies are one file, while each
//! of lariat's hosts gets one of its own.

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::ManyAgents;

use crate::bar::Bar;
use crate::measure::{Meter, Sample};
use crate::rounds::{Contender, interleave};
use crate::stage::{Stage, empty, same};
use crate::stats::{Spread, as_f64};
use crate::table::{Row, Table};
use crate::tools::{lariat, many};

const CLUSH: &str = "clush --copy";
const HOSTS: usize = 100;
const BYTES: u64 = 10 << 20;

pub(crate) fn run(stage: &Stage) -> Table {
    let fleet = TestFleet::new();
    let agents = ManyAgents::start_by(&fleet, HOSTS, |command| stage.guard.join(command));
    let (source, directory) = (stage.source("source", BYTES), stage.directory("fleet-push"));
    let ssh = stage.ssh.as_ref().map_err(Clone::clone);
    let done = |round: u32, to: &str, sample: Sample| {
        if round == 0 {
            same(&source, &directory.join(to))?;
        }
        empty(&directory)?;
        Ok(sample)
    };
    let contenders = vec![
        Contender::new(lariat::NAME, |round| {
            let mut command = fleet.lariat();
            stage.guard.join(&mut command);
            let dest = format!("all:{}/{{host}}", directory.display());
            command.arg("push").arg(&*source).arg(dest);
            stage.warm(BYTES * HOSTS as u64)?;
            let meter = Meter { server: agents.pids(), ..stage.local_meter() };
            done(round, "h0042", meter.run(&mut command)?.sample)
        }),
        Contender::maybe(CLUSH, ssh, |round, ssh| {
            let to = directory.join("copy");
            let guard = &stage.guard;
            let mut command = many::clush_copy(&stage.tools, ssh, guard, HOSTS, &source, &to)?;
            let meter = Meter { server: vec![ssh.pid()], ..stage.local_meter() };
            done(round, "copy", meter.run(&mut command)?.sample)
        }),
    ];
    let rows = interleave("fleet-push", stage.options.rounds, contenders, &stage.options);
    let title = format!("{} MiB to {HOSTS} hosts", BYTES >> 20);
    let bytes = Some(BYTES * HOSTS as u64);
    let mut table = Table { case: "fleet-push", title, bytes, rows, bars: Vec::new() };
    let client = |row: &Row| row.samples.iter().map(|s| s.client.cpu).collect::<Vec<_>>();
    let cpu = table.row(lariat::NAME).zip(table.row(CLUSH));
    let cpu = cpu.and_then(|(ours, theirs)| Spread::of_ratios(&client(ours), &client(theirs)));
    let memory = table.row(lariat::NAME).and_then(|row| {
        let peaks = row.samples.iter().filter_map(|sample| sample.client.memory);
        Spread::of(peaks.map(|bytes| as_f64(bytes >> 20)))
    });
    table.bars = vec![
        Bar::at_least(
            "fleet-push: times as fast as clush",
            7.0,
            "",
            table.ratio(CLUSH, lariat::NAME),
        ),
        Bar::at_most("fleet-push: share of clush's CPU time", 0.25, "", cpu),
        Bar::at_most("fleet-push: memory", 200.0, " MiB", memory),
    ];
    table
}
