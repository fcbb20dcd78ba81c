//! A command that reads much, from a local file.

use std::fs::File;

use crate::bar::Bar;
use crate::measure::Meter;
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage};
use crate::table::Table;
use crate::tools::lariat;
use crate::tools::ssh::Cipher;

use super::size;

const SSH_AES: &str = "ssh, aes128-gcm";

/// Reads to the end and discards the input.
const READ: &str = "cat > /dev/null";

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size / 2;
    let source = stage.source("source", bytes);
    let open = || File::open(&*source).map_err(|e| format!("open what is sent: {e}"));
    let ssh = stage.ssh.as_ref().map_err(Clone::clone);
    let contenders = vec![
        Contender::new(lariat::NAME, |_| {
            let mut command = stage.lariat();
            command.args(["run", HOST, "-i", "--", READ]).stdin(open()?);
            Ok(stage.agent_meter().run(&mut command)?.sample)
        }),
        Contender::maybe(SSH_AES, ssh, |_, ssh| {
            let meter = Meter { server: vec![ssh.pid()], ..stage.local_meter() };
            let mut command = ssh.run(&stage.guard, Cipher::Aes128Gcm, &[READ]);
            command.stdin(open()?);
            Ok(meter.run(&mut command)?.sample)
        }),
    ];
    let rows = interleave("input", stage.options.rounds, contenders, &stage.options);
    let title = format!("A command that reads {}", size(bytes));
    let mut table = Table { case: "input", title, bytes: Some(bytes), rows, bars: Vec::new() };
    let ratio = table.ratio(SSH_AES, lariat::NAME);
    table.bars = vec![Bar::at_least("input: times as fast as ssh, aes128-gcm", 1.3, "", ratio)];
    table
}
