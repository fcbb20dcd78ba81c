//! A health check: asks the first ten hosts of a fleet at once whether they answer, and how long that takes.
//!
//! `LARIAT_HOME=... cargo run --example ten_hosts`

mod common;

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use lariat_wire::protocol::session::{Ping, Pong};
use tokio::task::LocalSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let common::Fleet { client, peers } = common::Fleet::load()?;
    let client = client.connect_timeout(Duration::from_secs(3)).reconnect(Duration::ZERO);
    // One thread is enough for any number of hosts: they are waited for, not computed for.
    let all = LocalSet::new();
    for peer in peers.into_iter().take(10) {
        let host = client.host(peer);
        all.spawn_local(async move {
            let began = Instant::now();
            let answered =
                host.ask(&Ping { nonce: 1 }, async |session| session.answer::<Pong>().await).await;
            let line = match answered {
                Ok((session, _)) => {
                    session.leave().await;
                    format!("{}: up, {:?}", host.name(), began.elapsed())
                }
                Err(error) => format!("{}: down: {error}", host.name()),
            };
            let _ = writeln!(std::io::stdout(), "{line}");
        });
    }
    all.await;
    Ok(())
}
