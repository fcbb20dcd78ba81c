//! A race of connections for the agent's challenge: the first one that brings it wins.
//!
//! No request was sent on any of them yet, so another attempt may start beside one that makes no progress. A
//! lost SYN, a first connection over a dead path, or an outage that has just ended then costs only the delay
//! until the next attempt, not a whole time limit.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

use super::error::{Cause, Stage};
use super::login;
use super::tls::{Secured, Trust};
use crate::dial::{Dial, DialError};
use crate::peer::Peer;

/// Most attempts at once. Those that have a connection and wait stay; of the others the oldest is cancelled.
const MOST: usize = 6;

/// A connection on which the agent waits for the login.
pub(super) struct Greeted {
    pub(super) secured: Secured,
    pub(super) challenge: Vec<u8>,
}

/// Most connections that a host has parked at a gateway.
const MOST_PARKED: u32 = 4;

struct Attempt<'a> {
    stage: &'a Cell<Stage>,
    work: Pin<Box<dyn Future<Output = Result<Greeted, Cause>> + 'a>>,
}

/// Begins an attempt every `every`, until one succeeds or none is left. `stage` shows how far the best has
/// come.
pub(super) async fn greeted(
    dial: &dyn Dial,
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
            let work = Box::pin(greet(dial, trust, peer, own, stage));
            attempts.push(Attempt { stage: own, work });
        }
        tokio::select! {
            biased;
            first = first(&mut attempts) => match first {
                Err(error) if attempts.is_empty() || is_final(&error) => return Err(error),
                Err(_) => {}
                greeted => return greeted,
            },
            () = sleep(every) => {}
        }
    }
}

/// Whether the other attempts would fail alike: a gateway has had attempts of its own.
fn is_final(error: &Cause) -> bool {
    matches!(error, Cause::Dial(DialError::Leg { .. }))
}

/// Cancels the oldest attempt that has no connection yet.
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
    dial: &dyn Dial,
    trust: &Trust,
    peer: &Peer,
    own: &Cell<Stage>,
    best: &Cell<Stage>,
) -> Result<Greeted, Cause> {
    let reached = |stage: Stage| {
        own.set(stage);
        best.set(best.get().max(stage));
    };
    let mut tried = 0;
    loop {
        tried += 1;
        let stream = dial.dial(peer).await?;
        reached(Stage::Tls);
        let greeted = async {
            let mut secured = trust.handshake(peer, stream).await?;
            reached(Stage::Login);
            let challenge = login::challenge(&mut secured.stream).await?;
            Ok(Greeted { secured, challenge })
        };
        match greeted.await {
            // Whoever may park connections for the host may park one that is not the host's.
            Err(_) if tried < MOST_PARKED && dial.has_others() => {}
            greeted => return greeted,
        }
    }
}
