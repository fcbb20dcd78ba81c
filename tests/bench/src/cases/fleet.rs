//! A command that does nothing on many hosts: lariat, and tools that reach many hosts by ssh.
//!
//! lariat's hosts are agents, many in a process, each with an address, a key and a state of its own. The
//! other tools' hosts are one sshd under many names, with the same host key.

use lariat_testing::fleet::TestFleet;
use lariat_testing::many_agents::ManyAgents;

use crate::bar::Bar;
use crate::measure::Meter;
use crate::rounds::{Contender, interleave};
use crate::stage::Stage;
use crate::stats::{Spread, as_f64};
use crate::table::Table;
use crate::tools::lariat;
use crate::tools::many::{self, Masters};

const THOUSAND: &str = "lariat, 1000 hosts";
const CLUSH: &str = "clush";
const PDSH: &str = "pdsh";
const WARM: &str = "xargs ssh, warm ControlMasters";

/// Number of hosts for the other tools.
const HOSTS: usize = 100;
const MANY_HOSTS: usize = 1000;

pub(crate) fn run(stage: &Stage) -> Table {
    let fleet = TestFleet::new();
    let agents = ManyAgents::start_by(&fleet, MANY_HOSTS, |command| stage.guard.join(command));
    let ssh = stage.ssh.as_ref().map_err(Clone::clone);
    let masters =
        ssh.clone().and_then(|ssh| Ok((ssh, Masters::connect(ssh, &stage.guard, HOSTS)?)));
    let on = |target: &str| {
        let mut command = fleet.lariat();
        stage.guard.join(&mut command);
        command.args(["run", target, "--", "true"]);
        let meter = Meter { server: agents.pids(), ..stage.local_meter() };
        Ok(meter.run(&mut command)?.sample)
    };
    let by_ssh = |ssh: &crate::tools::ssh::Ssh, client, mut command| {
        let meter = Meter { server: vec![ssh.pid()], client, ..stage.local_meter() };
        Ok(meter.run(&mut command)?.sample)
    };
    let contenders = vec![
        Contender::new(lariat::NAME, |_| on("h[0001-0100]")),
        Contender::maybe(WARM, masters, |_, (ssh, masters)| {
            by_ssh(ssh, masters.pids(), masters.run(ssh, &stage.guard, "true"))
        }),
        Contender::maybe(PDSH, ssh.clone(), |_, ssh| {
            let command = many::pdsh(&stage.tools, ssh, &stage.guard, HOSTS, "true")?;
            by_ssh(ssh, Vec::new(), command)
        }),
        Contender::maybe(CLUSH, ssh, |_, ssh| {
            let command = many::clush(&stage.tools, ssh, &stage.guard, HOSTS, &["true"])?;
            by_ssh(ssh, Vec::new(), command)
        }),
        Contender::new(THOUSAND, |_| on("all")),
    ];
    let rows = interleave("fleet", stage.options.rounds, contenders, &stage.options);
    let title = format!("A command that does nothing on {HOSTS} hosts");
    let mut table = Table { case: "fleet", title, bytes: None, rows, bars: Vec::new() };
    let ratio = |over| table.ratio(over, lariat::NAME);
    let memory = table.row(THOUSAND).and_then(|row| {
        let peaks = row.samples.iter().filter_map(|sample| sample.client.memory);
        Spread::of(peaks.map(|bytes| as_f64(bytes >> 20)))
    });
    table.bars = vec![
        Bar::at_least("fleet: times as fast as clush", 25.0, "", ratio(CLUSH)),
        Bar::at_least("fleet: times as fast as pdsh", 25.0, "", ratio(PDSH)),
        Bar::at_least("fleet: times as fast as warm ssh", 2.5, "", ratio(WARM)),
        Bar::at_most("fleet: 1,000 hosts, times as long as 100", 12.0, "", ratio(THOUSAND)),
        Bar::at_most("fleet: memory for 1,000 hosts", 200.0, " MiB", memory),
    ];
    table
}
