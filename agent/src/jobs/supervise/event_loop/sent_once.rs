//! Signals that were sent already, so that a repeated request does not send one twice.

use std::collections::VecDeque;

/// How many signals are remembered that may be asked for again.
const REMEMBERED: usize = 64;

/// The signals that were sent, as far as somebody may still ask for them again.
#[derive(Default)]
pub(super) struct SentOnce(VecDeque<[u8; 16]>);

impl SentOnce {
    /// Whether nobody has asked with these bytes before.
    pub(super) fn is_new(&mut self, once: [u8; 16]) -> bool {
        if self.0.contains(&once) {
            return false;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(once);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_asked_for_again_is_sent_once() {
        let mut sent = SentOnce::default();
        assert!(sent.is_new([1; 16]) && !sent.is_new([1; 16]) && sent.is_new([2; 16]));
        (10..10 + 100).for_each(|other| assert!(sent.is_new([other; 16])));
        assert_eq!(sent.0.len(), REMEMBERED);
    }
}
