//! A connection that has brought the agent's challenge: the first of as many as it takes.
//!
//! Nothing was asked on any of them yet, so that one that does not get on can have another beside it. A SYN
//! that was lost, a first connection that a dead path has swallowed, or an outage that has just ended then
//! cost as long as the next attempt takes to begin, not a whole time limit.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use lariat_wire::auth::proof::Exporter;
use lariat_wire::tls::Channel;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Cause, Peer, Stage, Trust, login, tcp};

/// Most attempts beside each other: those that have a TCP connection and wait stay; of the others the
/// oldest makes room.
const MOST: usize = 6;

/// A connection on which the agent waits for the login.
pub(super) struct Greeted {
    pub(super) stream: Channel<TcpStream>,
    pub(super) exporter: Exporter,
    pub(super) challenge: Vec<u8>,
}

struct Attempt<'a> {
    stage: &'a Cell<Stage>,
    work: Pin<Box<dyn Future<Output = Result<Greeted, Cause>> + 'a>>,
}

/// Begins an attempt every `every`, until one succeeds or none is left. `stage` shows how far the best has
/// come.
pub(super) async fn greeted(
    trust: &Trust,
    peer: &Peer,
    stage: &Cell<Stage>,
    every: Duration,
) -> Result<Greeted, Cause> {
    let stages: [Cell<Stage>; MOST] = std::array::from_fn(|_| Cell::new(Stage::Connect));
    let mut attempts: Vec<Attempt<'_>> = Vec::with_capacity(1);
    loop {
        make_room(&mut attempts);
        let free = |cell: &&Cell<Stage>| !attempts.iter().any(|a| std::ptr::eq(a.stage, *cell));
        if let Some(own) = stages.iter().find(free) {
            own.set(Stage::Connect);
            let work = Box::pin(greet(trust, peer, own, stage));
            attempts.push(Attempt { stage: own, work });
        }
        tokio::select! {
            biased;
            first = first(&mut attempts) => match first {
                Err(error) if attempts.is_empty() => return Err(error),
                Err(_) => {}
                greeted => return greeted,
            },
            () = sleep(every) => {}
        }
    }
}

/// An attempt that has no answer to its SYN is the least loss.
fn make_room(attempts: &mut Vec<Attempt<'_>>) {
    if attempts.len() == MOST
        && let Some(oldest) = attempts.iter().position(|a| a.stage.get() == Stage::Connect)
    {
        attempts.remove(oldest);
    }
}

/// The first attempt that ends.
async fn first(attempts: &mut Vec<Attempt<'_>>) -> Result<Greeted, Cause> {
    poll_fn(|cx| {
        for number in 0..attempts.len() {
            if let Poll::Ready(ended) = attempts[number].work.as_mut().poll(cx) {
                attempts.remove(number);
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

async fn greet(
    trust: &Trust,
    peer: &Peer,
    own: &Cell<Stage>,
    best: &Cell<Stage>,
) -> Result<Greeted, Cause> {
    let reached = |stage: Stage| {
        own.set(stage);
        best.set(best.get().max(stage));
    };
    let tcp = tcp::connect(&peer.address).await?;
    reached(Stage::Tls);
    let (mut stream, exporter) = trust.handshake(peer, tcp).await?;
    reached(Stage::Login);
    let challenge = login::challenge(&mut stream).await?;
    Ok(Greeted { stream, exporter, challenge })
}
