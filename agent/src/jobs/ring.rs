//! Where a stream's bytes lie in a file of fixed size: the byte at offset `o` is at position
//! `o % capacity`. No I/O.
//!
//! Invariant: `acked <= end <= acked + capacity`, so a byte is only ever overwritten once it was
//! acknowledged.

/// A stream's window onto a file of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    capacity: u64,
    acked: u64,
    end: u64,
}

/// A range of bytes that lies in one piece in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where in the file it begins.
    pub(super) position: u64,
    /// How long it is, in bytes.
    pub(super) len: u64,
}

impl Ring {
    /// An empty window of `capacity` bytes, which must not be 0.
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, acked: 0, end: 0 }
    }

    /// Moves the stream to a file of `capacity` bytes; `None` if the unacknowledged bytes do not fit.
    pub(super) fn resized(self, capacity: u64) -> Option<Self> {
        (self.end - self.acked <= capacity).then_some(Self { capacity, ..self })
    }

    /// Size of the file, in bytes.
    pub(super) fn capacity(self) -> u64 {
        self.capacity
    }

    /// Offset of the first byte that is kept.
    pub(super) fn acked(self) -> u64 {
        self.acked
    }

    /// Offset behind the last byte that was written.
    pub(super) fn end(self) -> u64 {
        self.end
    }

    /// The next piece that may be written; its length is 0 when the window is full.
    pub(super) fn writable(self) -> Piece {
        piece(self.capacity, self.end, self.acked + self.capacity)
    }

    /// `len` bytes of the writable piece were written.
    pub(super) fn wrote(&mut self, len: u64) {
        debug_assert!(len <= self.writable().len, "only what is writable is written");
        self.end += len;
    }

    /// Everything before `upto` may be forgotten. `false` when it was never written.
    pub(super) fn ack(&mut self, upto: u64) -> bool {
        self.acked = self.acked.max(upto.min(self.end));
        upto <= self.end
    }
}

/// The first piece of the bytes from one offset up to another.
pub(super) fn piece(capacity: u64, from: u64, upto: u64) -> Piece {
    let position = from % capacity;
    Piece { position, len: upto.saturating_sub(from).min(capacity - position) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_window_takes_nothing_until_it_is_acknowledged() {
        let mut ring = Ring::new(8);
        ring.wrote(6);
        assert_eq!(ring.writable(), Piece { position: 6, len: 2 });
        ring.wrote(2);
        assert_eq!(ring.writable().len, 0);
        assert!(ring.ack(3));
        assert_eq!(ring.writable(), Piece { position: 0, len: 3 });
        assert!(!ring.ack(9), "what was never written can't be acknowledged");
        assert_eq!(ring.acked(), 8);
        assert!(ring.ack(1), "an old acknowledgement is no error and changes nothing");
        assert_eq!(ring.acked(), 8);
    }

    proptest! {
        /// A stream through a tiny file arrives as it was, whatever the steps.
        #[test]
        fn what_is_read_is_what_was_written(
            bits in 0_u32..5,
            steps in prop::collection::vec((0_u64..20, 0_u64..20, 0_u64..20), 0..200),
        ) {
            let capacity = 1 << bits;
            let mut ring = Ring::new(capacity);
            let mut file = vec![0_u64; usize::try_from(capacity).unwrap()];
            let mut read = 0;
            for (write, look, ack) in steps {
                let into = ring.writable();
                for step in 0..write.min(into.len) {
                    file[usize::try_from(into.position + step).unwrap()] = ring.end() + step;
                }
                ring.wrote(write.min(into.len));
                let from = piece(capacity, read, ring.end());
                for step in 0..look.min(from.len) {
                    prop_assert_eq!(file[usize::try_from(from.position + step).unwrap()], read + step);
                }
                read += look.min(from.len);
                prop_assert!(ring.ack(read.min(ring.acked() + ack)));
                prop_assert!(ring.end() - ring.acked() <= capacity);
            }
        }

        /// At most two pieces cover any range that the window holds.
        #[test]
        fn two_pieces_cover_the_window(bits in 0_u32..5, from in 0_u64..100, len in 0_u64..32) {
            let capacity = 1 << bits;
            let upto = from + len.min(capacity);
            let first = piece(capacity, from, upto);
            let second = piece(capacity, from + first.len, upto);
            prop_assert_eq!(from + first.len + second.len, upto);
        }
    }
}
