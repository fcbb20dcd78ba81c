//! Starts and ends the lanes of a transfer.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lariat_base::name::TransferId;
use lariat_wire::link::Traffic;
use lariat_wire::protocol::transfer::{Lane, MAX_STREAMS};
use tokio::time::{sleep, timeout};

use super::lane::{Ends, RunningLane, Setup};
use super::policy::{Policy, Sample};
use super::streams::Streams;
use crate::connect::{Route, Session};
use crate::host::HostHandle;
use crate::transfer::moved::Moved;

/// The least number of remaining bytes for which more connections are tried.
const LARGE: u64 = 64 * 1024 * 1024;

/// How often the rate is measured.
const LOOK: Duration = Duration::from_millis(50);

/// How long the lanes may take to end in order.
const LEAVING: Duration = Duration::from_secs(1);

/// The lanes of a transfer, for all of its attempts.
pub(in crate::transfer) struct LanePool {
    route: Route,
    limit: Duration,
    streams: Streams,
    transfer: TransferId,
    ends: Ends,
    /// The most connections that the attempt may have, including the first.
    most: usize,
    /// About a round trip of the attempt's first connection.
    round_trip: Duration,
    lanes: Vec<RunningLane>,
    /// Lanes that end once everything in transit on them has arrived.
    retired: Vec<RunningLane>,
    /// Counts the bytes of all connections.
    traffic: Traffic,
    /// The most connections that carried chunks at once.
    used: usize,
    /// The most connections that the key may have, if more were requested.
    allowed: Option<usize>,
}

impl LanePool {
    /// The lanes of a transfer with this host, initially none. `None` if it may not have any.
    pub(in crate::transfer) fn new(
        host: &HostHandle,
        streams: Streams,
        transfer: TransferId,
        ends: Ends,
    ) -> Option<Self> {
        // Over a unix socket, several connections gain nothing.
        let may_have = streams != Streams::ONE && !host.route().is_local();
        let (route, limit) = (host.route().clone(), host.connect_limit());
        may_have.then(|| Self {
            route,
            limit,
            streams,
            transfer,
            ends,
            most: 1,
            round_trip: Duration::ZERO,
            lanes: Vec::new(),
            retired: Vec::new(),
            traffic: Traffic::default(),
            used: 1,
            allowed: None,
        })
    }

    /// Begins an attempt, whose first connection this is.
    pub(in crate::transfer) fn begin(pool: &mut Option<Self>, session: &mut Session) {
        if let Some(pool) = pool {
            session.link.count(&pool.traffic);
            let most = usize::try_from(session.welcome.limits.sessions).unwrap_or(usize::MAX);
            let all = usize::from(MAX_STREAMS);
            pool.most = if most == 0 { all } else { all.min(most) };
            pool.round_trip = session.round_trip;
        }
    }

    /// This end of the lanes.
    pub(in crate::transfer) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Keeps as many lanes as are useful during an attempt, of which `left` bytes remain.
    pub(in crate::transfer) async fn manage(
        pool: &mut Option<Self>,
        left: impl Fn() -> u64,
        may_grow: bool,
    ) -> Infallible {
        let Some(pool) = pool else { return pending().await };
        pool.ends.opened().await;
        // In a new attempt they may be useful again.
        pool.drop_ended();
        match pool.streams {
            Streams::Exactly(streams) => {
                let streams = usize::from(streams);
                pool.allowed = (streams > pool.most).then_some(pool.most);
                pool.set(streams.min(pool.most));
                pool.look_on().await
            }
            Streams::Auto if may_grow && !pool.is_loopback().await => {
                while left() < LARGE {
                    pool.look().await;
                }
                pool.adapt(left).await
            }
            Streams::Auto => pool.look_on().await,
        }
    }

    async fn look_on(&mut self) -> Infallible {
        loop {
            self.look().await;
        }
    }

    /// Waits for a moment, and checks the lanes.
    async fn look(&mut self) {
        sleep(LOOK).await;
        self.count_used();
        self.retired.retain_mut(RunningLane::is_running);
    }

    async fn adapt(&mut self, left: impl Fn() -> u64) -> Infallible {
        let mut policy =
            Policy::new(self.lanes.len() + 1, self.most, self.round_trip, Instant::now());
        loop {
            self.look().await;
            if self.drop_ended() {
                // The host refused one.
                policy.limit(self.lanes.len() + 1);
            }
            let connected = self.lanes.iter().filter(|lane| lane.is_connected()).count() + 1;
            let (carried, left) = (self.traffic.bytes(), left());
            let sample = Sample { now: Instant::now(), carried, left, connected };
            self.set(policy.step(sample));
        }
    }

    /// Removes lanes that have ended by themselves. Returns whether there were any.
    fn drop_ended(&mut self) -> bool {
        let before = self.lanes.len();
        self.lanes.retain_mut(RunningLane::is_running);
        self.lanes.len() < before
    }

    /// Counts the lanes that carry anything.
    fn count_used(&mut self) {
        let carrying = self.lanes.iter().filter(|lane| lane.has_carried()).count();
        self.used = self.used.max(carrying + 1);
    }

    /// Starts or ends lanes, until there are this many connections, including the first.
    fn set(&mut self, streams: usize) {
        let too_many = self.lanes.split_off(self.lanes.len().min(streams.saturating_sub(1)));
        too_many.iter().for_each(RunningLane::retire);
        self.retired.extend(too_many);
        while self.lanes.len() + 1 < streams {
            let is_free = |number: &u8| {
                !self.lanes.iter().chain(&self.retired).any(|lane| lane.number() == *number)
            };
            // Retired lanes end soon.
            let Some(number) = (1..MAX_STREAMS).find(is_free) else { return };
            let request = Lane { transfer: self.transfer, way: self.ends.way(), number };
            let (route, limit, ends) = (self.route.clone(), self.limit, self.ends.clone());
            let traffic = self.traffic.clone();
            match RunningLane::start(Setup { route, limit, request, ends, traffic }) {
                Some(lane) => self.lanes.push(lane),
                None => return,
            }
        }
    }

    /// Whether the host's address is a loopback one, where several connections gain nothing.
    async fn is_loopback(&self) -> bool {
        let Some(address) = self.route.address() else { return self.route.is_local() };
        if let Ok(ip) = address.host().parse::<IpAddr>() {
            return ip.to_canonical().is_loopback();
        }
        // If the name can't be resolved any more, no connections are added either.
        let found = tokio::net::lookup_host((address.host(), address.port())).await;
        found.is_err() || found.is_ok_and(|mut all| all.any(|address| address.ip().is_loopback()))
    }

    /// Adds the number of connections to an attempt's counts.
    pub(in crate::transfer) fn tell(pool: &mut Option<Self>, moved: &mut Moved) {
        if let Some(pool) = pool {
            pool.count_used();
            (moved.streams, moved.allowed) = (pool.used, pool.allowed);
        }
    }

    /// Ends all lanes in order.
    pub(in crate::transfer) async fn close(pool: &mut Option<Self>) {
        let Some(pool) = pool else { return };
        let lanes = pool.lanes.drain(..).chain(pool.retired.drain(..));
        let left = async {
            for lane in lanes {
                lane.end().await;
            }
        };
        // Connections that can't be closed in order are cut when this process ends.
        let _ = timeout(LEAVING, left).await;
    }
}
