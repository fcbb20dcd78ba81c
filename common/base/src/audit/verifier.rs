//! Whether an audit's files are one whole chain, and if not, the first line that is wrong.
//!
//! A state machine without I/O: it is fed the files' bytes in order. What it can't see is lines that are
//! missing at the end; witnesses notice those. An incomplete line at the end of the newest file is no flaw, since a
//! killed process or a power cut leaves one.

use serde::Deserialize;

use super::file_name::FileName;
use super::flaw::{Flaw, Gap, Wrong};
use super::line::{Hash, Head, MAX_LINE, NO_HASH, may_be_cut, read};
use super::{DROPPED, OPENED};

/// A run of zeros of this length is a block that a power cut kept from being written.
const HOLE: usize = 512;

/// A chain that is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// The chain's id, in hexadecimal digits.
    pub chain: String,
    /// The number of the first line that is kept; 0 if there is none.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// The hash of the last line.
    pub hash: Hash,
    /// Bytes of the newest file up to the end of its last line.
    pub len: u64,
    /// Bytes of an incomplete line behind it.
    pub cut: u64,
}

/// Verifies files that it is fed in order.
#[derive(Default)]
pub struct Verifier {
    /// The chain as far as it was fed.
    whole: Whole,
    file: Option<FileName>,
    /// Lines of the current file.
    lines: u64,
    /// The beginning of a line.
    pending: Vec<u8>,
    /// Zeros behind `pending`.
    zeros: usize,
    /// A hole was found; what lies behind it is counted only.
    hole: Option<u64>,
    /// Lines up to this were dropped in order.
    dropped: u64,
    /// The first file need not be the chain's first.
    from_middle: bool,
}

/// What the first line of a file says.
#[derive(Deserialize)]
struct Opened {
    chain: String,
}

/// What a line about dropped files says.
#[derive(Deserialize)]
struct Dropped {
    last: u64,
}

impl Verifier {
    /// A verifier whose first file may be any of the chain.
    pub fn from_middle() -> Self {
        Self { from_middle: true, ..Self::default() }
    }

    /// The chain as far as it was fed.
    pub fn so_far(&self) -> &Whole {
        &self.whole
    }

    /// The current file, and its length as far as it was fed.
    pub fn position(&self) -> Option<(FileName, u64)> {
        self.file.map(|file| (file, self.whole.len + self.behind()))
    }

    /// The next bytes are those of this file, from its beginning.
    pub fn file(&mut self, name: FileName) -> Result<(), Wrong> {
        if let Some(file) = self.file {
            if self.behind() > 0 || self.lines == 0 {
                return Err(Wrong { file, line: Some(self.lines + 1), flaw: Flaw::Cut });
            }
            let due = self.whole.last + 1;
            if name.0 > due {
                let gap = Gap { first: due, last: name.0 - 1 };
                return Err(Wrong { file: FileName(due), line: None, flaw: Flaw::Missing(gap) });
            }
            if name.0 < due {
                return Err(Wrong { file: name, line: None, flaw: Flaw::Beginning });
            }
        }
        (self.file, self.lines, self.whole.len) = (Some(name), 0, 0);
        Ok(())
    }

    /// Takes the current file's next bytes. `each` gets every line that is right, with its bytes.
    pub fn bytes(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(&Head<'_>, &[u8]),
    ) -> Result<(), Wrong> {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.pending.is_empty() && self.zeros == 0 && self.hole.is_none() {
                self.line(line, each)?;
            } else {
                self.keep(line)?;
                if let Some(hole) = &mut self.hole {
                    *hole += 1;
                } else {
                    let zeros = std::mem::take(&mut self.zeros);
                    self.pending.resize(self.pending.len() + zeros, 0);
                    let line = std::mem::take(&mut self.pending);
                    self.line(&line, each)?;
                }
            }
            bytes = rest;
        }
        self.keep(bytes)
    }

    /// Keeps the beginning of a line. Zeros are only counted: there may be many.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        if let Some(hole) = &mut self.hole {
            *hole += bytes.len() as u64;
            return Ok(());
        }
        let Some(last) = bytes.iter().rposition(|&b| b != 0) else {
            self.zeros += bytes.len();
            return Ok(());
        };
        if self.zeros >= HOLE {
            self.hole = Some(bytes.len() as u64);
            return Ok(());
        }
        let zeros = std::mem::take(&mut self.zeros);
        self.pending.resize(self.pending.len() + zeros, 0);
        let (text, zeros) = bytes.split_at(last + 1);
        self.pending.extend_from_slice(text);
        self.zeros = zeros.len();
        if self.pending.len() > MAX_LINE { Err(self.wrong(Flaw::Malformed)) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], each: &mut dyn FnMut(&Head<'_>, &[u8])) -> Result<(), Wrong> {
        let head = read(line).ok().filter(|_| line.len() <= MAX_LINE);
        let Some(head) = head else {
            if line.split(|&b| b != 0).any(|zeros| zeros.len() >= HOLE) {
                self.hole = Some(line.len() as u64 + 1);
                return Ok(());
            }
            return Err(self.wrong(Flaw::Malformed));
        };
        self.check(&head, line).map_err(|flaw| self.wrong(flaw))?;
        self.lines += 1;
        self.whole.first = if self.whole.first == 0 { head.seq } else { self.whole.first };
        (self.whole.last, self.whole.hash) = (head.seq, head.hash);
        self.whole.len += line.len() as u64 + 1;
        each(&head, line);
        Ok(())
    }

    fn check(&mut self, head: &Head<'_>, line: &[u8]) -> Result<(), Flaw> {
        if !head.is_sealed {
            return Err(Flaw::Changed);
        }
        let is_first = self.whole.last == 0;
        if is_first {
            if self.file != Some(FileName(head.seq)) {
                return Err(Flaw::Beginning);
            }
            if head.seq == 1 && head.prev != NO_HASH {
                return Err(Flaw::Unlinked);
            }
        } else {
            let expected = self.whole.last + 1;
            if head.seq != expected {
                return Err(Flaw::Place { expected, found: head.seq });
            }
            if head.prev != self.whole.hash {
                return Err(Flaw::Unlinked);
            }
        }
        if (self.lines == 0) != (head.event == OPENED) {
            return Err(Flaw::Beginning);
        }
        match head.event {
            OPENED => {
                let opened: Opened = serde_json::from_slice(line).map_err(|_| Flaw::Malformed)?;
                if is_first {
                    self.whole.chain = opened.chain;
                } else if self.whole.chain != opened.chain {
                    return Err(Flaw::OtherChain);
                }
            }
            DROPPED => {
                let dropped: Dropped = serde_json::from_slice(line).map_err(|_| Flaw::Malformed)?;
                self.dropped = self.dropped.max(dropped.last);
            }
            _ => {}
        }
        Ok(())
    }

    fn wrong(&self, flaw: Flaw) -> Wrong {
        let file = self.file.unwrap_or(FileName(1));
        Wrong { file, line: Some(self.lines + 1), flaw }
    }

    /// Bytes behind the last whole line.
    fn behind(&self) -> u64 {
        (self.pending.len() + self.zeros) as u64 + self.hole.unwrap_or_default()
    }

    /// No more bytes follow: returns the chain if it is whole.
    pub fn finish(mut self) -> Result<Whole, Wrong> {
        if self.hole.is_none() && !may_be_cut(&self.pending) {
            return Err(self.wrong(Flaw::Malformed));
        }
        let first = self.whole.first;
        if first > 1 && !self.from_middle && self.dropped < first - 1 {
            let gap = Gap { first: self.dropped + 1, last: first - 1 };
            return Err(Wrong { file: FileName(gap.first), line: None, flaw: Flaw::Missing(gap) });
        }
        self.whole.cut = self.behind();
        Ok(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::{hex, seal};
    use super::*;

    type Files = Vec<(FileName, Vec<u8>)>;

    /// A chain of files with these numbers of lines.
    fn files(lines: &[u64]) -> Files {
        let (mut files, mut seq, mut prev) = (Files::new(), 1, NO_HASH);
        for &count in lines {
            let name = FileName(seq);
            let mut file = Vec::new();
            for number in 0..count {
                let event = if number == 0 { "opened\",\"chain\":\"c4" } else { "began" };
                let prev_hex = hex(&prev);
                let text = format!(
                    "{{\"seq\":{seq},\"time\":\"T\",\"prev\":\"{prev_hex}\",\"event\":\"{event}\""
                );
                let mut line = text.into_bytes();
                prev = seal(&mut line);
                file.extend_from_slice(&line);
                seq += 1;
            }
            files.push((name, file));
        }
        files
    }

    fn verify(files: &Files, part: usize) -> Result<Whole, Wrong> {
        let mut verifier = Verifier::default();
        for (name, bytes) in files {
            verifier.file(*name)?;
            bytes.chunks(part).try_for_each(|part| verifier.bytes(part, &mut |_, _| ()))?;
        }
        verifier.finish()
    }

    fn lines(file: &[u8]) -> Vec<&[u8]> {
        file.split_inclusive(|&b| b == b'\n').collect()
    }

    #[test]
    fn a_whole_chain_is_whole_however_it_comes() {
        let files = files(&[3, 1, 4]);
        let whole = verify(&files, usize::MAX).unwrap();
        assert_eq!((whole.first, whole.last, whole.cut, whole.chain.as_str()), (1, 8, 0, "c4"));
        assert_eq!(whole.len, files[2].1.len() as u64);
        for part in [1, 2, 7, 100, 341] {
            assert_eq!(verify(&files, part), Ok(whole.clone()));
        }
        assert_eq!(verify(&Files::new(), 1), Ok(Whole::default()));
    }

    #[test]
    fn every_flipped_bit_is_named_with_its_line() {
        let files = files(&[2, 3]);
        for (number, (name, bytes)) in files.iter().enumerate() {
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = files.clone();
                    changed[number].1[place] ^= 1 << bit;
                    let wrong = verify(&changed, 997).expect_err("it was changed");
                    let line = bytes[..place].split(|&b| b == b'\n').count() as u64;
                    assert_eq!(
                        (wrong.file, wrong.line),
                        (*name, Some(line)),
                        "{place} {bit}: {wrong}"
                    );
                }
            }
        }
    }

    #[test]
    fn whatever_is_cut_out_is_named() {
        let whole = files(&[3, 3, 3]);
        let without_line = |number: usize, line: usize| {
            let mut files = whole.clone();
            let mut kept = lines(&whole[number].1);
            kept.remove(line);
            files[number].1 = kept.concat();
            verify(&files, 100).map_err(|wrong| wrong.to_string())
        };
        assert_eq!(
            without_line(0, 1).unwrap_err(),
            "000000000001.jsonl:2: this is line 3, and line 2 is missing before it"
        );
        assert!(without_line(1, 0).unwrap_err().starts_with("000000000004.jsonl:1: "));
        assert!(
            without_line(0, 2)
                .unwrap_err()
                .contains("000000000003.jsonl: this file is missing, or")
        );
        let without_file = |number: usize| {
            let mut files = whole.clone();
            files.remove(number);
            verify(&files, 100).map_err(|wrong| wrong.to_string())
        };
        let missing = |first, last| {
            let gap = Gap { first, last };
            let (file, flaw) = (FileName(first), Flaw::Missing(gap));
            Err(Wrong { file, line: None, flaw }.to_string())
        };
        assert_eq!((without_file(0), without_file(1)), (missing(1, 3), missing(4, 6)));
        assert!(without_file(2).is_ok(), "only witnesses notice a missing end");
    }

    #[test]
    fn a_line_that_was_rewritten_with_its_hash_no_longer_fits() {
        let mut files = files(&[4]);
        let mut all: Vec<Vec<u8>> = lines(&files[0].1).into_iter().map(<[u8]>::to_vec).collect();
        let text = String::from_utf8(all[1].clone()).unwrap().replace("began", "ended");
        all[1] = text.split(",\"hash\"").next().unwrap().as_bytes().to_vec();
        seal(&mut all[1]);
        files[0].1 = all.concat();
        let wrong = verify(&files, 64).unwrap_err();
        assert_eq!((wrong.line, wrong.flaw), (Some(3), Flaw::Unlinked));
    }

    #[test]
    fn what_a_kill_or_a_power_cut_leaves_is_no_flaw_at_the_end_and_nowhere_else() {
        let whole = files(&[2, 2]);
        for at_end in [true, false] {
            let number = usize::from(at_end);
            let start = lines(&whole[number].1)[0].len();
            let mut cases: Vec<Vec<u8>> = (start + 1..whole[number].1.len())
                .map(|len| whole[number].1[..len].to_vec())
                .collect();
            for zeros in [1, 511, 512, 5000, 2 * MAX_LINE] {
                cases.push([&whole[number].1[..], &vec![0; zeros]].concat());
                cases.push([&whole[number].1[..start + 40], &vec![0; zeros]].concat());
            }
            let hole = [&whole[number].1[..start + 40], &[0; 4096], b"more\nand more\n"].concat();
            cases.push(hole);
            for case in cases {
                let mut files = whole.clone();
                let len = case.len() as u64;
                files[number].1 = case;
                for part in [61, 5000, usize::MAX] {
                    match verify(&files, part) {
                        Ok(whole) => assert!(at_end && whole.len + whole.cut == len, "{len}"),
                        Err(wrong) => assert!(!at_end, "{len}: {wrong}"),
                    }
                }
            }
        }
    }

    #[test]
    fn lines_that_were_dropped_in_order_are_not_missed() {
        let all = files(&[2, 2]);
        let text = lines(&all[1].1)[1];
        let text = String::from_utf8(text.to_vec()).unwrap();
        let text = text.replace("began\"", "dropped\",\"first\":1,\"last\":2");
        let mut line = text.split(",\"hash\"").next().unwrap().as_bytes().to_vec();
        seal(&mut line);
        let file = [lines(&all[1].1)[0], &line].concat();
        let kept = vec![(FileName(3), file)];
        assert_eq!(verify(&kept, 50).map(|whole| (whole.first, whole.last)), Ok((3, 4)));
        let none = vec![all[1].clone()];
        assert!(verify(&none, 50).is_err());
        let mut middle = Verifier::from_middle();
        middle.file(none[0].0).unwrap();
        middle.bytes(&none[0].1, &mut |_, _| ()).unwrap();
        assert!(middle.finish().is_ok());
    }

    proptest! {
        #[test]
        fn a_line_that_was_moved_or_doubled_is_named(
            counts in proptest::collection::vec(1_u64..5, 1..4), from: prop::sample::Index, to: prop::sample::Index, doubled: bool,
        ) {
            let mut files = files(&counts);
            let file = files.len() / 2;
            let mut all: Vec<Vec<u8>> = lines(&files[file].1).into_iter().map(<[u8]>::to_vec).collect();
            let (from, to) = (from.index(all.len()), to.index(all.len()));
            let line = if doubled { all[from].clone() } else { all.remove(from) };
            all.insert(to, line);
            files[file].1 = all.concat();
            prop_assert_eq!(verify(&files, 80).is_ok(), !doubled && from == to);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<Vec<u8>>) {
            let mut verifier = Verifier::default();
            let _ = verifier.file(FileName(1));
            for part in bytes {
                let _ = verifier.bytes(&part, &mut |_, _| ());
            }
            let _ = verifier.finish();
        }
    }
}
