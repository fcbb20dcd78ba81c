//! Starts and ends the lanes of a transfer.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lariat_base::name::TransferId;
use lariat_wire::protocol::transfer::{Lane, MAX_STREAMS};
use tokio::time::{sleep, timeout};

use super::lane::{Ends, RunningLane, Setup};
use super::policy::Policy;
use super::streams::Streams;
use crate::connect::Route;
use crate::host::HostHandle;
use crate::transfer::observed::Observed;

/// What must be left to be moved, in bytes, before more connections are tried.
const LARGE: u64 = 64 * 1024 * 1024;

/// How often the rate is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long the lanes may take to leave in order.
const LEAVING: Duration = Duration::from_secs(1);

/// The lanes of a transfer. They last over all of its attempts.
pub(in crate::transfer) struct LanePool {
    route: Route,
    limit: Duration,
    streams: Streams,
    transfer: TransferId,
    ends: Ends,
    /// By their numbers, from 1.
    lanes: Vec<RunningLane>,
    /// The most connections that carried chunks at once.
    used: usize,
}

impl LanePool {
    /// The lanes of a transfer with this host, none yet. `None` if it may not have any.
    pub(in crate::transfer) fn new(
        host: &HostHandle,
        streams: Streams,
        transfer: TransferId,
        ends: Ends,
    ) -> Option<Self> {
        // A unix socket has no slow start and no loss.
        let may_have = streams != Streams::ONE && host.address().is_some();
        let (route, limit) = (host.route().clone(), host.connect_limit());
        let lanes = Vec::new();
        may_have.then_some(Self { route, limit, streams, transfer, ends, lanes, used: 1 })
    }

    /// This end of the lanes.
    pub(in crate::transfer) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Has as many lanes as are worth it while an attempt runs. The key may have this many `sessions`, 0 for any
    /// number.
    pub(in crate::transfer) async fn manage(
        pool: &mut Option<Self>,
        watched: &Observed<'_>,
        sessions: u32,
        may_grow: bool,
    ) -> Infallible {
        let Some(pool) = pool else { return pending().await };
        pool.ends.opened().await;
        // In a new attempt they may be of use again.
        pool.drop_ended();
        let most = if sessions == 0 { u32::from(MAX_STREAMS) } else { sessions };
        let most = usize::from(MAX_STREAMS).min(usize::try_from(most).unwrap_or(usize::MAX));
        match pool.streams {
            Streams::Exactly(streams) => {
                pool.set(usize::from(streams).min(most));
                pool.look_on().await
            }
            Streams::Auto if may_grow && watched.left() >= LARGE && !pool.is_loopback().await => {
                pool.adapt(watched, most).await
            }
            Streams::Auto => pool.look_on().await,
        }
    }

    async fn look_on(&mut self) -> Infallible {
        loop {
            sleep(LOOK).await;
            self.count();
        }
    }

    async fn adapt(&mut self, watched: &Observed<'_>, most: usize) -> Infallible {
        let mut policy = Policy::new(self.lanes.len() + 1, most, Instant::now());
        loop {
            sleep(LOOK).await;
            self.count();
            if self.drop_ended() {
                // The host refused one.
                policy.limit(self.lanes.len() + 1);
            }
            self.set(policy.step(Instant::now(), watched.moved()));
        }
    }

    /// Drops lanes that have ended by themselves, and those behind them. Returns whether there were any.
    fn drop_ended(&mut self) -> bool {
        let ended = self.lanes.iter_mut().position(|lane| !lane.is_running());
        self.lanes.truncate(ended.unwrap_or(self.lanes.len()));
        ended.is_some()
    }

    /// Counts the lanes that carry chunks.
    fn count(&mut self) {
        let carrying = self.lanes.iter().filter(|lane| lane.has_carried()).count();
        self.used = self.used.max(carrying + 1);
    }

    /// Starts or ends lanes, until there are this many connections with the first.
    fn set(&mut self, streams: usize) {
        self.lanes.truncate(streams.saturating_sub(1));
        while self.lanes.len() + 1 < streams {
            let number = u8::try_from(self.lanes.len() + 1).unwrap_or(MAX_STREAMS);
            let request = Lane { transfer: self.transfer, way: self.ends.way(), number };
            let (route, limit, ends) = (self.route.clone(), self.limit, self.ends.clone());
            match RunningLane::start(Setup { route, limit, request, ends }) {
                Some(lane) => self.lanes.push(lane),
                None => return,
            }
        }
    }

    /// Whether the host's address is a loopback one: there is nothing to gain.
    async fn is_loopback(&self) -> bool {
        let Some(address) = self.route.address() else { return true };
        if let Ok(ip) = address.host().parse::<IpAddr>() {
            return ip.to_canonical().is_loopback();
        }
        // A name that is not found any more is no reason for more connections either.
        let found = tokio::net::lookup_host((address.host(), address.port())).await;
        found.is_err() || found.is_ok_and(|mut all| all.any(|address| address.ip().is_loopback()))
    }

    /// The most connections that have carried chunks.
    pub(in crate::transfer) fn used(pool: &mut Option<Self>) -> usize {
        pool.as_mut().map_or(1, |pool| {
            pool.count();
            pool.used
        })
    }

    /// Ends all lanes in order.
    pub(in crate::transfer) async fn close(pool: &mut Option<Self>) {
        let Some(pool) = pool else { return };
        let lanes = std::mem::take(&mut pool.lanes);
        let left = async {
            for lane in lanes {
                lane.end().await;
            }
        };
        // One that can't leave in order is cut off when this process ends.
        let _ = timeout(LEAVING, left).await;
    }
}
