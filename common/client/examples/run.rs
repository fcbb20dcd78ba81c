//! Runs a command on a host and streams its output, also across broken connections.
//!
//! `LARIAT_HOME=... cargo run --example run -- HOST 'COMMAND LINE'`

mod common;

use std::error::Error;
use std::process::ExitCode;

use lariat_base::name::JobId;
use lariat_client::run::{Connections, Job, Outcome, Signals, run};
use lariat_wire::protocol::exec::{Command, Run, Streams};
use tokio::io::{Empty, stderr, stdout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(name), Some(line)) = (words.next(), words.next()) else {
        return Err("usage: run HOST 'COMMAND LINE'".into());
    };
    let fleet = common::Fleet::load()?;
    let host = fleet.client.host(fleet.peer(&name)?);
    let request = Run {
        job: JobId::generate()?,
        command: Command::Shell(line.into_bytes()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Followed { stdin: false },
        timeout_ms: None,
        // The agent ends a command whose client stays away this long.
        grace_ms: 30_000,
    };
    let (mut connections, mut signals) = (Connections::new(&host), Signals::none());
    // Output goes to any `AsyncWrite`.
    let job = Job::new(stdout(), stderr());
    let outcome = run(&mut connections, &mut signals, &request, &job, None::<Empty>).await;
    connections.finish().await;
    match outcome {
        Outcome::Ended(end) => Ok(ExitCode::from(end.status())),
        Outcome::Failed(error) => Err(error.into()),
        other => Err(format!("{other:?}").into()),
    }
}
