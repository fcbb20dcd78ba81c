//! A command that prints much, to /dev/null.

use crate::bar::Bar;
use crate::measure::Meter;
use crate::rounds::{Contender, interleave};
use crate::stage::{HOST, Stage};
use crate::table::Table;
use crate::tools::lariat;
use crate::tools::ssh::Cipher;

use super::size;

const SSH: &str = "ssh, default cipher";
const SSH_AES: &str = "ssh, aes128-gcm";

pub(crate) fn run(stage: &Stage) -> Table {
    let bytes = stage.options.size / 2;
    let source = stage.source("source", bytes);
    let path = source.to_str().expect("the directory's name is text, or ssh could not name it");
    let ssh = |name, cipher| {
        let ssh = stage.ssh.as_ref().map_err(Clone::clone);
        Contender::maybe(name, ssh, move |_, ssh| {
            let server = vec![ssh.pid()];
            let meter = Meter { server, discard: true, ..stage.local_meter() };
            Ok(meter.run(&mut ssh.run(&stage.guard, cipher, &["cat", path]))?.sample)
        })
    };
    let contenders = vec![
        Contender::new(lariat::NAME, |_| {
            let meter = Meter { discard: true, ..stage.agent_meter() };
            let mut command = stage.lariat();
            command.args(["run", HOST, "--", "cat", path]);
            Ok(meter.run(&mut command)?.sample)
        }),
        ssh(SSH, Cipher::Default),
        ssh(SSH_AES, Cipher::Aes128Gcm),
    ];
    let rows = interleave("output", stage.options.rounds, contenders, &stage.options);
    let title = format!("A command that prints {}", size(bytes));
    let mut table = Table { case: "output", title, bytes: Some(bytes), rows, bars: Vec::new() };
    let ratio = table.ratio(SSH_AES, lariat::NAME);
    table.bars = vec![Bar::at_least("output: times as fast as ssh, aes128-gcm", 1.3, "", ratio)];
    table
}
