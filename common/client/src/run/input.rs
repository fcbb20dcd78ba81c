//! The command's stdin on its way to the host: under credit, and kept until the command has it.
//!
//! No I/O here. Invariant: what is kept begins at the first byte that the command has not taken, so
//! that a connection that comes next can send it again; it is never more than [`STDIN_CREDIT`], which
//! is also all that the host has to hold.

use std::collections::VecDeque;

use lariat_wire::limits::STDIN_CREDIT;
use lariat_wire::link::LinkError;
use lariat_wire::protocol::exec::StdinTaken;

/// Most bytes of stdin in one frame.
pub(crate) const FRAME: usize = 128 * 1024;

/// How far stdin is read, sent and taken.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Offset of the first byte kept: the command has taken all before it.
    taken: u64,
    kept: VecDeque<u8>,
    /// How many of those kept this connection has sent.
    sent: usize,
    /// Offset behind the last byte that any connection has sent.
    reached: u64,
    ended: bool,
    end_sent: bool,
    closed: bool,
}

/// What is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A frame with this offset; its bytes are in the buffer that was given.
    Bytes(u64),
    /// The end, after this many bytes.
    End(u64),
}

impl Input {
    /// Offset of the first byte that the command is not known to have taken.
    pub(crate) fn position(&self) -> u64 {
        self.taken
    }

    /// How many bytes may be read from the source now.
    pub(crate) fn room(&self) -> usize {
        let credit = usize::try_from(STDIN_CREDIT).expect("the credit is small");
        if self.is_over() { 0 } else { credit - self.kept.len() }
    }

    /// Whether nothing more is to be read, ever.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.closed
    }

    /// Takes what was read from the source, at most [`Self::room`] bytes; none is its end.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room());
        if bytes.is_empty() {
            self.ended = true;
        }
        self.kept.extend(bytes);
    }

    /// What to send now, if anything. Counts as sent from here on.
    pub(crate) fn next(&mut self, buffer: &mut Vec<u8>) -> Option<Next> {
        buffer.clear();
        if self.closed {
            return None;
        }
        let unsent = self.kept.len() - self.sent;
        if unsent > 0 {
            let offset = self.taken + self.sent as u64;
            let len = unsent.min(FRAME);
            copy(&self.kept, self.sent, len, buffer);
            self.sent += len;
            self.reached = self.reached.max(offset + len as u64);
            return Some(Next::Bytes(offset));
        }
        if self.ended && !self.end_sent {
            self.end_sent = true;
            return Some(Next::End(self.taken + self.sent as u64));
        }
        None
    }

    /// The command has taken more of it, or closed it.
    pub(crate) fn taken(&mut self, taken: StdinTaken) -> Result<(), LinkError> {
        // A connection that broke may have got more through than we heard of.
        let upto = Some(taken.upto).filter(|&upto| upto <= self.reached);
        let more = upto.and_then(|upto| upto.checked_sub(self.taken));
        let Some(more) = more.and_then(|more| usize::try_from(more).ok()) else {
            return Err(LinkError::Misbehaved("it took stdin that was not sent"));
        };
        self.kept.drain(..more.min(self.kept.len()));
        self.sent = self.sent.saturating_sub(more);
        self.taken = taken.upto;
        if taken.closed {
            self.close();
        }
        Ok(())
    }

    /// Nobody wants more of it.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.kept = VecDeque::new();
        self.sent = 0;
    }

    /// A new connection has sent nothing yet.
    pub(crate) fn resume(&mut self) {
        self.sent = 0;
        self.end_sent = false;
    }
}

/// Puts `len` of the bytes, from this one on, behind what the buffer has.
fn copy(bytes: &VecDeque<u8>, from: usize, len: usize, buffer: &mut Vec<u8>) {
    let (front, back) = bytes.as_slices();
    // By slices: taken one by one, the bytes cost more than all else that is done with them here.
    let head = &front[from.min(front.len())..(from + len).min(front.len())];
    buffer.extend_from_slice(head);
    let from = (from + head.len()).saturating_sub(front.len());
    buffer.extend_from_slice(&back[from..from + len - head.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credit_is_what_may_be_read_ahead() {
        let mut input = Input::default();
        let mut buffer = Vec::new();
        assert_eq!(input.next(&mut buffer), None);
        input.read(&vec![1; input.room()]);
        assert_eq!(input.room(), 0);
        let mut sent = 0;
        while let Some(Next::Bytes(offset)) = input.next(&mut buffer) {
            assert_eq!(offset, sent);
            sent += buffer.len() as u64;
        }
        assert_eq!(sent, STDIN_CREDIT);
        input.taken(StdinTaken { upto: 100, closed: false }).unwrap();
        assert_eq!(input.room(), 100);
        assert!(input.taken(StdinTaken { upto: 99, closed: false }).is_err());
        assert!(input.taken(StdinTaken { upto: sent + 1, closed: false }).is_err());
    }

    #[test]
    fn a_closed_stdin_wants_and_sends_nothing_more() {
        let mut input = Input::default();
        input.read(b"abc");
        input.taken(StdinTaken { upto: 0, closed: true }).unwrap();
        assert_eq!((input.room(), input.next(&mut Vec::new())), (0, None));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Read(usize),
        Send,
        Take(usize, bool),
        Cut,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1_usize..200_000).prop_map(Step::Read),
            Just(Step::Send),
            (0_usize..100_000, any::<bool>()).prop_map(|(len, told)| Step::Take(len, told)),
            Just(Step::Cut),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// A host that has taken some of what it got, and loses the rest whenever it is cut off,
        /// ends up with exactly what was read.
        #[test]
        fn a_cut_loses_and_doubles_nothing(steps in steps()) {
            let mut input = Input::default();
            let (mut source, mut host, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
            let mut taken = 0;
            let mut send = |input: &mut Input, host: &mut Vec<u8>| match input.next(&mut buffer) {
                Some(Next::Bytes(offset)) => {
                    // What was taken before a cut may come again.
                    let known = host.len() - usize::try_from(offset).unwrap();
                    host.extend(buffer.get(known..).unwrap_or_default());
                    true
                }
                Some(Next::End(len)) => { assert_eq!(len, host.len() as u64); false }
                None => false,
            };
            for step in steps {
                match step {
                    Step::Read(len) => {
                        let len = len.min(input.room());
                        let bytes: Vec<u8> = (source.len()..source.len() + len)
                            .map(|i| u8::try_from(i % 251).unwrap()).collect();
                        if len > 0 { input.read(&bytes); }
                        source.extend(bytes);
                    }
                    Step::Send => { send(&mut input, &mut host); }
                    Step::Take(more, told) => {
                        taken = (taken + more).min(host.len());
                        if told {
                            input.taken(StdinTaken { upto: taken as u64, closed: false }).unwrap();
                        }
                    }
                    Step::Cut => { host.truncate(taken); input.resume(); }
                }
                prop_assert!(host.len() - taken <= usize::try_from(STDIN_CREDIT).unwrap());
            }
            input.taken(StdinTaken { upto: host.len() as u64, closed: false }).unwrap();
            if input.room() > 0 { input.read(&[]); }
            while send(&mut input, &mut host) {}
            prop_assert_eq!(host, source);
        }
    }
}
