//! A thousand sessions that log in, one after another, and then do nothing: what they cost the agent.

use std::time::Instant;

use lariat_testing::agent::memory_kib;
use lariat_testing::bare_agent::{BareAgent, Setup};
use lariat_testing::wait::block_on;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bar::Bar;
use crate::measure::{End, Sample};
use crate::process;
use crate::rounds::{Contender, interleave};
use crate::stage::Stage;
use crate::stats::{Spread, as_f64};
use crate::table::Table;
use crate::tools::lariat;

const SESSIONS: u64 = 1000;

pub(crate) fn run(stage: &Stage) -> Table {
    let contenders = vec![Contender::new(lariat::NAME, |_| measure())];
    let rows = interleave("idle", stage.options.rounds.min(3), contenders, &stage.options);
    let title = format!("{SESSIONS} sessions that do nothing");
    let mut table = Table { case: "idle", title, bytes: None, rows, bars: Vec::new() };
    let each = table.row(lariat::NAME).map(|row| {
        let memory = row.samples.iter().filter_map(|sample| sample.server.memory);
        memory.map(|bytes| as_f64(bytes) / 1024.0 / as_f64(SESSIONS)).collect::<Vec<_>>()
    });
    let each = each.and_then(Spread::of);
    table.bars = vec![Bar::at_most("idle: KiB of the agent's for a session", 128.0, "", each)];
    table
}

fn measure() -> Result<Sample, String> {
    // This process has the other end of each session.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|e| format!("raise the limit of open files: {e}"))?;
    // An owner's key may have every session.
    let verbs = "\"run\", \"push\", \"pull\", \"shell\", \"jobs\", \"keys\"";
    let agent =
        BareAgent::with(Setup { config: "[limits]\nsessions = 4096\n", verbs, ..Setup::default() });
    let memory = || memory_kib(agent.pid(), "VmRSS").ok_or("the agent has ended".to_owned());
    let (before, cpu, began) = (memory()?, process::cpu(agent.pid()), Instant::now());
    block_on(async {
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let session = agent.log_in_with(&[]).await;
            sessions.push(session.map_err(|e| format!("session {}: {e}", sessions.len() + 1))?);
        }
        let wall = began.elapsed().as_secs_f64();
        let server = End {
            cpu: process::cpu(agent.pid()) - cpu,
            memory: Some(memory()?.saturating_sub(before) * 1024),
        };
        let client = End { memory: Some(0), ..End::default() };
        Ok(Sample { wall, client, server, ..Sample::default() })
    })
}
