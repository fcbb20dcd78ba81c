//! A command that does nothing: lariat from a cold start, ssh with and without a master connection.

use crate::bar::Bar;
use crate::measure::Meter;
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage};
use crate::table::Table;
use crate::tools::lariat;
use crate::tools::ssh::Cipher;

const WARM: &str = "ssh, warm ControlMaster";
const COLD: &str = "ssh, cold";

/// Memory is sampled in one of this many rounds, since sampling costs as much as what is measured.
const LOOK: u32 = 10;

pub(crate) fn run(stage: &Stage) -> Table {
    let ssh = stage.ssh.as_ref().map_err(Clone::clone);
    let warm = ssh.clone().and_then(|ssh| Ok((ssh, ssh.master(&stage.guard)?)));
    let contenders = vec![
        Contender::new(lariat::NAME, |round| {
            let meter = Meter { memory: round.is_multiple_of(LOOK), ..stage.agent_meter() };
            let mut command = stage.lariat();
            command.args(["run", HOST, "--", "true"]);
            Ok(meter.run(&mut command)?.sample)
        }),
        Contender::maybe(WARM, warm, |round, (ssh, master)| {
            let meter = Meter {
                memory: round.is_multiple_of(LOOK),
                client: vec![master.pid()],
                server: vec![ssh.pid()],
                ..stage.local_meter()
            };
            Ok(meter.run(&mut ssh.run_by(master, &stage.guard, &["true"]))?.sample)
        }),
        Contender::maybe(COLD, ssh, |round, ssh| {
            let memory = round.is_multiple_of(LOOK);
            let meter = Meter { memory, server: vec![ssh.pid()], ..stage.local_meter() };
            Ok(meter.run(&mut ssh.run(&stage.guard, Cipher::Default, &["true"]))?.sample)
        }),
    ];
    let rows = interleave("run", stage.options.pairs, contenders, &stage.options);
    let title = "A command that does nothing".to_owned();
    let mut table = Table { case: "run", title, bytes: None, rows, bars: Vec::new() };
    let ratio = table.ratio(lariat::NAME, WARM);
    table.bars = vec![Bar::at_most("run: share of warm ssh's time", 0.7, "", ratio)];
    table
}
