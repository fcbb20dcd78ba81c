//! Starts a detached job on a host and follows its output to its end. The job does not notice when this program
//! is killed: `lariat attach HOST` shows the rest.
//!
//! `LARIAT_HOME=... cargo run --example follow -- HOST 'COMMAND LINE'`

mod common;

use std::error::Error;
use std::io::Write;

use lariat_base::name::JobId;
use lariat_client::run::{Connections, Job, Log, Outcome, Signals, Wanted, run};
use lariat_wire::protocol::exec::{Ack, Command, Run, Streams};
use lariat_wire::protocol::job::Start;
use tokio::io::{Empty, sink, stderr, stdout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(name), Some(line)) = (words.next(), words.next()) else {
        return Err("usage: follow HOST 'COMMAND LINE'".into());
    };
    let fleet = common::Fleet::load()?;
    let host = fleet.client.host(fleet.peer(&name)?);
    let request = Run {
        job: JobId::generate()?,
        command: Command::Shell(line.into_bytes()),
        user: None,
        cwd: None,
        env: Vec::new(),
        streams: Streams::Detached,
        timeout_ms: None,
        grace_ms: 30_000,
    };
    let (mut connections, mut signals) = (Connections::new(&host), Signals::none());
    let start = Job::new(sink(), sink());
    let started = run(&mut connections, &mut signals, &request, &start, None::<Empty>).await;
    connections.finish().await;
    if !matches!(started, Outcome::Detached) {
        return Err(format!("not started: {started:?}").into());
    }
    let from_its_beginning = Start::Offsets(Ack::default());
    let wanted = Wanted { job: request.job, start: from_its_beginning, follow: true };
    let log = Log::new(stdout(), stderr());
    let lost = |stream: &str, bytes: u64| {
        let _ = writeln!(std::io::stderr(), "{bytes} bytes of {stream} were not kept");
    };
    let state = log.read(&host, None, &wanted, lost).await?;
    writeln!(std::io::stderr(), "job {}: {state:?}", request.job)?;
    Ok(())
}
