//! The shared state of the connections of a tree's sender: contents that were read, and contents in transit on
//! each lane.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, mpsc as blocking};

use lariat_wire::protocol::failure::Failure;
use lariat_wire::protocol::transfer::Sending;
use tokio::sync::{Mutex, mpsc};

use super::content::{Content, Want};
use super::content_sender::SentContent;
use super::lane_watch::Told;
use crate::lanes::{Lanes, Ticket, Work};
use crate::send::{Pace, SendFile};
use crate::wakeup::Changes;

/// Contents as they are read. Each connection takes the next one when it is ready.
#[derive(Clone)]
pub(super) struct Contents(Arc<Mutex<mpsc::Receiver<Content>>>);

impl Contents {
    pub(super) fn new(contents: mpsc::Receiver<Content>) -> Self {
        Self(Arc::new(Mutex::new(contents)))
    }

    /// The next content, or `None` if the reader has ended. Cancel-safe.
    pub(super) async fn next(&self) -> Option<Content> {
        self.0.lock().await.recv().await
    }
}

/// A tree that is sent over several connections.
pub(crate) struct SendTree {
    pub(super) contents: Contents,
    /// The lanes as those of a file whose chunks they share.
    pub(super) file_lanes: Lanes<SendFile>,
    /// The number of the file that was shared last.
    pub(super) shared: u64,
    pub(super) how: Sending,
    /// Of the sums of packs.
    pub(super) seed: u64,
    pub(super) pace: Pace,
    /// The root's, for failures.
    pub(super) path: Arc<[u8]>,
    /// Asks the reader again for what a lost lane had taken.
    want: blocking::Sender<Want>,
    /// What each lane has taken and the receiver has not acknowledged, in the order of sending.
    lanes: HashMap<Ticket, VecDeque<InFlight>>,
    /// Reports that the first connection has not received yet.
    reports: Option<Reports>,
}

/// A content in transit.
struct InFlight {
    wants: Vec<Want>,
    /// Set once it was sent.
    sent: Option<SentContent>,
}

/// Reports of lanes to the first connection.
#[derive(Default)]
pub(super) struct Reports {
    /// Files that have arrived, and the weight of their entries.
    pub(super) files: usize,
    pub(super) weight: usize,
    pub(super) sent: SentContent,
    pub(super) told: Vec<Told>,
    /// Something could not be read.
    pub(super) missed: bool,
    /// The failure of a lane that ends the transfer.
    pub(super) failure: Option<Failure>,
}

/// The receiver has acknowledged contents that were not sent to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotSent;

impl Work for SendTree {
    fn enter(&mut self, lane: Ticket) {
        self.lanes.insert(lane, VecDeque::new());
    }

    fn leave(&mut self, lane: Ticket) {
        for InFlight { wants, .. } in self.lanes.remove(&lane).unwrap_or_default() {
            self.ask_again(wants);
        }
    }
}

impl SendTree {
    pub(super) fn new(
        file_lanes: Lanes<SendFile>,
        contents: Contents,
        want: blocking::Sender<Want>,
        how: Sending,
        seed: u64,
        pace: Pace,
        path: Arc<[u8]>,
    ) -> Self {
        let (lanes, reports) = (HashMap::new(), None);
        Self { contents, file_lanes, shared: 0, how, seed, pace, path, want, lanes, reports }
    }

    /// Records that a lane takes this content. Returns whether it may send it: a replaced lane may not.
    pub(super) fn took(&mut self, lane: Ticket, wants: Vec<Want>) -> bool {
        let Some(in_flight) = self.lanes.get_mut(&lane) else {
            self.ask_again(wants);
            return false;
        };
        in_flight.push_back(InFlight { wants, sent: None });
        true
    }

    /// Records that the content that a lane took last is sent.
    pub(super) fn sent(&mut self, lane: Ticket, sent: SentContent) {
        if let Some(last) = self.lanes.get_mut(&lane).and_then(VecDeque::back_mut) {
            last.sent = Some(sent);
        }
    }

    /// Records that the receiver has this many more contents of a lane.
    pub(super) fn acknowledge(&mut self, lane: Ticket, contents: u64) -> Result<(), NotSent> {
        // The contents of a replaced lane were requested again.
        let Some(in_flight) = self.lanes.get_mut(&lane) else { return Ok(()) };
        for _ in 0..contents {
            let sent = in_flight.front().and_then(|front| front.sent).ok_or(NotSent)?;
            let wants = in_flight.pop_front().map(|front| front.wants).unwrap_or_default();
            let reports = self.reports.get_or_insert_default();
            reports.files += wants.len();
            reports.weight += wants.iter().map(|want| want.weight).sum::<usize>();
            reports.sent.sent += sent.sent;
            reports.sent.moved += sent.moved;
        }
        Ok(())
    }

    /// Whether everything that this lane has taken was acknowledged.
    pub(super) fn is_idle(&self, lane: Ticket) -> bool {
        self.lanes.get(&lane).is_none_or(VecDeque::is_empty)
    }

    /// Reports of lanes for the first connection.
    pub(super) fn reports(&mut self) -> &mut Reports {
        self.reports.get_or_insert_default()
    }

    fn ask_again(&self, wants: Vec<Want>) {
        for want in wants {
            // Fails only when the transfer is over.
            let _ = self.want.send(want);
        }
    }
}

/// The lanes of one attempt, as its first connection sees them. They end when this is dropped.
pub(super) struct OpenLanes {
    lanes: Lanes<SendTree>,
    changes: Changes,
}

impl OpenLanes {
    /// Allows lanes to join.
    pub(super) fn new(lanes: Lanes<SendTree>, tree: SendTree) -> Self {
        let changes = lanes.changes();
        lanes.open(tree);
        Self { lanes, changes }
    }

    /// The lanes as those of the file with this number, whose chunks they are to share.
    pub(super) fn share(&self, number: u64) -> Option<Lanes<SendFile>> {
        self.lanes.with(|tree| {
            tree.shared = number;
            tree.file_lanes.clone()
        })
    }

    /// Waits until lanes have something to tell. Cancel-safe.
    pub(super) async fn reports(open: Option<&mut Self>) -> Reports {
        let Some(Self { lanes, changes }) = open else { return std::future::pending().await };
        loop {
            if let Some(Some(reports)) = lanes.with(|tree| tree.reports.take()) {
                return reports;
            }
            changes.next().await;
        }
    }
}

impl Drop for OpenLanes {
    fn drop(&mut self) {
        self.lanes.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(number: u64) -> Want {
        Want {
            number,
            directory: (*b"a").into(),
            name: (*b"x").into(),
            weight: 3,
            difference: false,
            acl_reported: false,
        }
    }

    #[test]
    fn contents_of_a_lost_lane_are_requested_again() {
        let (ask, asked) = blocking::channel();
        let contents = Contents::new(mpsc::channel(1).1);
        let pace = Pace::new(None, std::time::Instant::now());
        let mut tree = SendTree::new(
            Lanes::default(),
            contents,
            ask,
            Sending::default(),
            7,
            pace,
            (*b"/").into(),
        );
        tree.enter(1);
        let sent = SentContent { sent: 5, moved: 9 };
        for number in 0..4 {
            assert!(tree.took(1, vec![want(2 * number), want(2 * number + 1)]));
            if number < 3 {
                tree.sent(1, sent);
            }
        }
        assert_eq!(tree.acknowledge(1, 1), Ok(()));
        let Reports { files, weight, sent, .. } = tree.reports.take().unwrap();
        assert_eq!((files, weight, sent.sent, sent.moved), (2, 6, 5, 9));
        assert_eq!((tree.acknowledge(1, 3), tree.is_idle(1)), (Err(NotSent), false));
        tree.leave(1);
        // Two of the three have arrived.
        let numbers: Vec<u64> = asked.try_iter().map(|want: Want| want.number).collect();
        assert_eq!(numbers, [6, 7]);
        // A replaced lane takes nothing.
        assert!(!tree.took(1, vec![want(9)]) && tree.is_idle(1));
        assert_eq!(asked.try_iter().map(|want: Want| want.number).collect::<Vec<_>>(), [9]);
        assert_eq!(tree.acknowledge(1, 8), Ok(()));
    }
}
