//! Entries that the sender has sent and that are not settled: they are kept until they are answered, and
//! wanted ones go to the reader. No I/O.

use std::collections::VecDeque;
use std::sync::mpsc;

use super::content::Want;
use super::order::DirectoryPath;
use lariat_wire::protocol::metadata::Acls;
use lariat_wire::protocol::tree::{Answer, Answers, Entry};

/// Entries that are not settled.
pub(super) struct Unsettled {
    unanswered: VecDeque<Message>,
    want: mpsc::Sender<Want>,
    /// The number of the next entry.
    next: u64,
    /// Wanted files whose content has not been sent.
    wanted: usize,
    /// The weight of all unsettled entries.
    weight: usize,
}

/// The entries of one message.
struct Message {
    first: u64,
    directory: DirectoryPath,
    entries: Vec<SentEntry>,
}

struct SentEntry {
    name: Box<[u8]>,
    weight: usize,
    /// The entry said that the file's ACL is dropped.
    acl_reported: bool,
    /// The size of a file in bytes.
    size: Option<u64>,
}

impl Unsettled {
    /// Starts without entries. Wanted files go to `want`.
    pub(super) fn new(want: mpsc::Sender<Want>) -> Self {
        Self { unanswered: VecDeque::new(), want, next: 1, wanted: 0, weight: 0 }
    }

    /// The weight of all unsettled entries.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Whether everything is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.unanswered.is_empty() && self.wanted == 0
    }

    /// Adds the entries of a message that was sent. A message without entries gets no answer.
    pub(super) fn sent(&mut self, directory: DirectoryPath, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let first = self.next;
        self.next += entries.len() as u64;
        let entries: Vec<SentEntry> = entries
            .into_iter()
            .map(|entry| SentEntry {
                weight: entry.weight(),
                acl_reported: entry.metadata.acls == Acls::Dropped,
                size: entry.what.size(),
                name: entry.name.into(),
            })
            .collect();
        self.weight += entries.iter().map(|entry| entry.weight).sum::<usize>();
        self.unanswered.push_back(Message { first, directory, entries });
    }

    /// Takes the receiver's answer to the oldest message. Returns the bytes of files that the receiver has.
    pub(super) fn answered(&mut self, answers: &Answers) -> Result<u64, &'static str> {
        let unasked = "it answers entries that were not sent";
        let Message { first, directory, entries } = self.unanswered.pop_front().ok_or(unasked)?;
        if answers.first != first || answers.answers.len() != entries.len() {
            return Err(unasked);
        }
        let mut had = 0;
        for ((number, entry), &answer) in (first..).zip(entries).zip(&answers.answers) {
            let difference = match Answer::from_wire(answer) {
                Some(Answer::Nothing) => {
                    self.weight -= entry.weight;
                    had += entry.size.unwrap_or_default();
                    continue;
                }
                Some(Answer::Content) => false,
                Some(Answer::Difference) => true,
                None => return Err("it answers in a way that is not known"),
            };
            if entry.size.is_none() {
                return Err("it wants the content of what is no file");
            }
            self.wanted += 1;
            let SentEntry { name, weight, acl_reported, .. } = entry;
            let directory = DirectoryPath::clone(&directory);
            // Fails only when the reader thread has ended, which its other channel shows.
            let _ =
                self.want.send(Want { number, directory, name, weight, difference, acl_reported });
        }
        Ok(had)
    }

    /// Settles wanted files whose contents were sent or can't be.
    pub(super) fn settled(&mut self, files: usize, weight: usize) {
        self.wanted -= files;
        self.weight -= weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_wire::protocol::metadata::Metadata;
    use lariat_wire::protocol::tree::What;

    fn entry(name: &str, is_file: bool) -> Entry {
        let what = if is_file {
            What::File { size: 1, hash: None, linked: false }
        } else {
            What::Directory
        };
        Entry { name: name.as_bytes().to_vec(), metadata: Metadata::default(), what }
    }

    fn answers(first: u64, answers: &[u8]) -> Answers {
        Answers { first, answers: answers.to_vec() }
    }

    #[test]
    fn wanted_files_are_handed_on_and_the_rest_is_settled() {
        let (want, wanted) = mpsc::channel();
        let mut unsettled = Unsettled::new(want);
        unsettled.sent((*b"a").into(), vec![entry("x", true), entry("y", true), entry("z", false)]);
        unsettled.sent((*b"b").into(), Vec::new());
        unsettled.sent((*b"c").into(), vec![entry("w", true)]);
        assert_eq!((unsettled.weight(), unsettled.is_empty()), (4, false));
        assert_eq!(unsettled.answered(&answers(1, &[0, 2, 0])), Ok(1));
        unsettled.answered(&answers(4, &[1])).unwrap();
        let wanted: Vec<Want> = wanted.try_iter().collect();
        let seen: Vec<_> =
            wanted.iter().map(|want| (want.number, &*want.name, want.difference)).collect();
        assert_eq!(seen, [(2, &b"y"[..], true), (4, b"w", false)]);
        assert_eq!(unsettled.weight(), 2);
        unsettled.settled(2, 2);
        assert!(unsettled.is_empty());
    }

    #[test]
    fn answers_that_fit_nothing_are_refused() {
        let unsettled = || {
            let mut unsettled = Unsettled::new(mpsc::channel().0);
            unsettled.sent((*b"a").into(), vec![entry("x", true), entry("z", false)]);
            unsettled
        };
        for bad in [
            answers(1, &[1]),
            answers(1, &[0, 0, 0]),
            answers(2, &[0, 0]),
            answers(1, &[0, 1]),
            answers(1, &[3, 0]),
        ] {
            assert!(unsettled().answered(&bad).is_err(), "{bad:?}");
        }
        let mut unsettled = unsettled();
        unsettled.answered(&answers(1, &[0, 0])).unwrap();
        assert!(unsettled.answered(&answers(3, &[0])).is_err());
    }
}
