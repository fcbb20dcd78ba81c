//! Many small commands, one after another: one lariat session, and ssh over a master connection.

use std::fmt::Write;
use std::process::Command;

use crate::bar::Bar;
use crate::measure::Meter;
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage};
use crate::table::Table;
use crate::tools::lariat;

const WARM: &str = "ssh, warm ControlMaster";

/// Number of commands. A thousand take ssh most of ten seconds per round.
const COMMANDS: u32 = 300;

/// A shell loop that runs its arguments, as a script would.
const LOOP: &str = "i=0; while [ $i -lt $0 ]; do \"$@\" || exit 1; i=$((i+1)); done";

pub(crate) fn run(stage: &Stage) -> Table {
    let ssh = stage.ssh.as_ref().map_err(Clone::clone);
    let warm = ssh.and_then(|ssh| Ok((ssh, ssh.master(&stage.guard)?)));
    let file = stage.temporary("lines");
    let mut lines = String::new();
    for number in 0..COMMANDS {
        writeln!(lines, "echo {number}").expect("a String takes what is written to it");
    }
    std::fs::write(&*file, lines).expect("the bench's own directory can be written to");
    let contenders = vec![
        Contender::new(lariat::NAME, |_| {
            let mut command = stage.lariat();
            command.args(["run", HOST, "--from"]).arg(&*file);
            let meter = Meter { discard: true, ..stage.agent_meter() };
            Ok(meter.run(&mut command)?.sample)
        }),
        Contender::maybe(WARM, warm, |_, (ssh, master)| {
            let one: Command = ssh.run_by(master, &stage.guard, &["echo", "1"]);
            let mut all = stage.guard.command("/bin/sh");
            all.args(["-c", LOOP]).arg(COMMANDS.to_string());
            all.arg(one.get_program()).args(one.get_args());
            let (client, server) = (vec![master.pid()], vec![ssh.pid()]);
            let meter = Meter { discard: true, client, server, ..stage.local_meter() };
            Ok(meter.run(&mut all)?.sample)
        }),
    ];
    let rows = interleave("lines", stage.options.rounds, contenders, &stage.options);
    let title = format!("{COMMANDS} commands, one after another");
    let mut table = Table { case: "lines", title, bytes: None, rows, bars: Vec::new() };
    let ratio = table.ratio(WARM, lariat::NAME);
    table.bars = vec![Bar::at_least("lines: commands a second, times ssh's", 3.0, "", ratio)];
    table
}
