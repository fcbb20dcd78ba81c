//! The lines of one host's audit that this machine was shown, and what contradicts them. No clock and no I/O.
//!
//! A line goes when `audit verify` has linked it to a later one. Until then one an hour stays, and of those between
//! them the newest ones: the more of them there are, the fewer of the older ones, for whoever rewrites a record can
//! rewrite it behind the last line that is known. One that the host has contradicted stays too, for the record may grow
//! over it and look as if it went on.

use std::fmt;

use lariat_wire::protocol::audit::AuditHead;

/// The least time between two lines that stay, in seconds.
const EVERY: u64 = 3600;

/// Most lines that are kept, with those between the hours about 64 KiB in a file.
const MOST: usize = 480;

/// Most lines that are kept between those of two hours. They are read at each contact.
const MOST_SPARE: usize = 32;

/// Most lines that are kept because they were contradicted.
const MOST_CONTRADICTED: usize = 8;

/// Stands behind a line of a file that was contradicted.
const CONTRADICTED: &str = "contradicted";

/// Lines that were shown, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witnesses {
    all: Vec<Witness>,
    /// When the last one was shown that is one of an hour, in seconds since 1970.
    hour: Option<u64>,
    /// Those between them.
    spare: Vec<AuditHead>,
}

/// A line, and when it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The line.
    pub(crate) line: AuditHead,
    /// When it was shown, in seconds since 1970.
    pub(crate) at: u64,
    /// Whether the host has contradicted it since.
    pub(crate) is_contradicted: bool,
}

/// How what a host shows contradicts what it had shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contradiction {
    /// The newest line is an older one.
    Lower {
        /// The newest line before.
        seen: u64,
        /// The newest line now.
        now: u64,
    },
    /// A line is another one.
    Rewritten {
        /// Its number.
        seq: u64,
    },
    /// It is another chain, or none.
    OtherChain {
        /// The newest line before.
        seen: u64,
    },
}

/// A line of a file: number, hash, chain, and the time in seconds since 1970.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AuditHead { chain, seq, hash } = &self.line;
        write!(f, "{seq} {} {} {}", hex::encode(hash), hex::encode(chain), self.at)?;
        if self.is_contradicted {
            write!(f, " {CONTRADICTED}")?;
        }
        writeln!(f)
    }
}

impl Contradiction {
    /// How a line that is shown now contradicts this one.
    pub(super) fn of(Witness { line: seen, .. }: Witness, now: AuditHead) -> Self {
        if seen.chain != now.chain {
            Self::OtherChain { seen: seen.seq }
        } else if seen.seq > now.seq {
            Self::Lower { seen: seen.seq, now: now.seq }
        } else {
            Self::Rewritten { seq: seen.seq }
        }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lower { seen, now } => write!(
                f,
                "ends at {now}, this machine saw {seen}: restored from a snapshot, or cut"
            ),
            Self::Rewritten { seq } => write!(
                f,
                "has another line {seq} than this machine saw: restored from a snapshot, or rewritten"
            ),
            Self::OtherChain { seen } => write!(
                f,
                "is another one, of which this machine saw nothing, and the one that it saw up to {seen} is gone: \
                 the host's state was replaced, or the record was removed"
            ),
        }
    }
}

impl Witnesses {
    /// Reads a file, to which any process may have added a line. Returns also how many lines can't be read.
    pub(crate) fn read(text: &str) -> (Self, usize) {
        let (mut witnesses, mut bad) = (Self::default(), 0);
        for line in text.lines() {
            match parse(line) {
                Some(witness) => witnesses.add(witness),
                None => bad += 1,
            }
        }
        (witnesses, bad)
    }

    /// The text of a file.
    pub(crate) fn write(&self) -> String {
        self.all.iter().map(ToString::to_string).collect()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Witness> {
        self.all.iter()
    }

    /// The newest line.
    pub(crate) fn newest(&self) -> Option<AuditHead> {
        self.all.last().map(|witness| witness.line)
    }

    /// How a line that is shown now contradicts these, all of which were shown before it was sent.
    pub(crate) fn contradiction(&self, now: AuditHead) -> Option<Contradiction> {
        self.contradicted_by(now).map(|witness| Contradiction::of(witness, now))
    }

    /// The newest of these that a line which is shown now contradicts.
    pub(crate) fn contradicted_by(&self, now: AuditHead) -> Option<Witness> {
        // Those of another machine may be of another chain than the rest.
        let is_other = |line: &AuditHead| line.chain != now.chain;
        let contradicts =
            |line: &AuditHead| is_other(line) || line.seq > now.seq || is_rewritten(line, now);
        let all = self.all.iter().filter(|witness| contradicts(&witness.line));
        all.max_by_key(|witness| (is_other(&witness.line), witness.line.seq)).copied()
    }

    /// The line of this chain and number that has another hash.
    pub(crate) fn rewritten_by(&self, now: AuditHead) -> Option<Witness> {
        self.all.iter().find(|witness| is_rewritten(&witness.line, now)).copied()
    }

    /// What the host has contradicted earlier, although the newest line would follow it.
    pub(crate) fn unsettled(&self, now: AuditHead) -> Option<Contradiction> {
        let mut contradicted = self.all.iter().filter(|witness| witness.is_contradicted);
        contradicted.next().map(|witness| Contradiction::of(*witness, now))
    }

    /// Adds a line that was shown now, unless a later one is there. Lines of other processes may come in any order.
    pub(crate) fn add(&mut self, witness: Witness) {
        if witness.is_contradicted {
            self.mark(witness);
            return;
        }
        let newest = self.newest().filter(|newest| newest.chain == witness.line.chain);
        if newest.is_some_and(|newest| newest.seq >= witness.line.seq) {
            return;
        }
        if self.hour.is_some_and(|hour| witness.at.saturating_sub(hour) < EVERY) {
            self.spare.push(witness.line);
        } else {
            self.hour = Some(witness.at);
        }
        self.all.push(witness);
        if self.spare.len() > MOST_SPARE {
            self.thin();
        }
        if self.all.len() > MOST + MOST_SPARE {
            let last = self.all.len() - 1;
            let mut number = 0;
            self.all.retain(|witness| {
                number += 1;
                witness.is_contradicted || number % 2 == 1 || number == last + 1
            });
        }
    }

    /// Drops every other one of the older half of those between the hours.
    fn thin(&mut self) {
        let (mut number, mut dropped) = (0, Vec::new());
        self.spare.retain(|line| {
            number += 1;
            let stays = number % 2 == 0 || number > MOST_SPARE / 2;
            if !stays {
                dropped.push(*line);
            }
            stays
        });
        self.all.retain(|witness| witness.is_contradicted || !dropped.contains(&witness.line));
    }

    /// Keeps a line that was contradicted.
    fn mark(&mut self, witness: Witness) {
        if self.all.iter().filter(|known| known.is_contradicted).count() >= MOST_CONTRADICTED {
            return;
        }
        if let Some(known) = self.all.iter_mut().find(|known| known.line == witness.line) {
            known.is_contradicted = true;
            self.spare.retain(|line| *line != witness.line);
        } else {
            // A later one has taken its place.
            let at = self.all.partition_point(|known| known.at <= witness.at);
            self.all.insert(at, witness);
        }
    }

    /// Adds those of another machine.
    pub(crate) fn merge(&mut self, other: Self) {
        self.all.extend(other.all);
        self.all.sort_by_key(|witness| witness.line.seq);
    }

    /// All of them are linked to this one, or given up for it.
    pub(crate) fn replace(&mut self, by: Witness) {
        *self = Self { all: vec![by], hour: Some(by.at), spare: Vec::new() };
    }
}

fn is_rewritten(line: &AuditHead, now: AuditHead) -> bool {
    line.chain == now.chain && line.seq == now.seq && line.hash != now.hash
}

fn parse(line: &str) -> Option<Witness> {
    let mut words = line.split(' ');
    let mut line = AuditHead { seq: words.next()?.parse().ok()?, ..AuditHead::default() };
    hex::decode_to_slice(words.next()?, &mut line.hash).ok()?;
    hex::decode_to_slice(words.next()?, &mut line.chain).ok()?;
    let at = words.next()?.parse().ok()?;
    let is_contradicted = match words.next() {
        None => false,
        Some(CONTRADICTED) => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Witness { line, at, is_contradicted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64) -> AuditHead {
        let [.., hash] = seq.to_le_bytes().map(|_| u8::try_from(seq % 251).unwrap());
        AuditHead { chain: [1; 16], seq, hash: [hash; 32] }
    }

    fn shown(lines: &[(u64, u64)]) -> Witnesses {
        let mut witnesses = Witnesses::default();
        lines.iter().for_each(|&(seq, at)| witnesses.add(witness(seq, at)));
        witnesses
    }

    fn witness(seq: u64, at: u64) -> Witness {
        Witness { line: line(seq), at, is_contradicted: false }
    }

    fn kept(witnesses: &Witnesses) -> Vec<u64> {
        witnesses.iter().map(|witness| witness.line.seq).collect()
    }

    #[test]
    fn one_an_hour_is_kept_and_the_newest_ones() {
        let witnesses = shown(&[(1, 0), (5, 10), (9, 3000), (12, 3700), (20, 3800), (19, 3900)]);
        assert_eq!(kept(&witnesses), [1, 5, 9, 12, 20]);
        assert_eq!(Witnesses::read(&witnesses.write()), (witnesses, 0));
        // Ten contacts a second for an hour.
        let lines: Vec<(u64, u64)> = (1..=36_000).map(|seq| (seq, seq / 10)).collect();
        let witnesses = shown(&lines);
        let all = kept(&witnesses);
        assert!(all.len() <= MOST_SPARE + 2, "{all:?}");
        assert!(all.ends_with(&[35_997, 35_998, 35_999, 36_000]), "{all:?}");
        assert!(all.contains(&1) && all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        assert_eq!(Witnesses::read(&witnesses.write()), (witnesses, 0));
    }

    #[test]
    fn however_long_it_goes_on_a_file_is_bounded_and_spans_all_of_it() {
        let lines: Vec<(u64, u64)> = (1..5000).map(|hour| (hour, hour * EVERY)).collect();
        let witnesses = shown(&lines);
        assert!(witnesses.write().len() <= 64 * 1024);
        let first = witnesses.iter().next().unwrap();
        assert_eq!((first.line.seq, witnesses.newest().unwrap().seq), (1, 4999));
    }

    #[test]
    fn what_was_contradicted_stays_although_the_record_grows_over_it() {
        let mut witnesses = shown(&[(1, 0), (72, 10)]);
        let other = |seq| AuditHead { hash: [9; 32], ..line(seq) };
        let contradicted = witnesses.contradicted_by(other(68)).unwrap();
        assert_eq!((contradicted.line.seq, witnesses.unsettled(other(68))), (72, None));
        let marked = Witness { is_contradicted: true, ..contradicted };
        let text = witnesses.write();
        // Another process sees a later line before this one has written.
        let (mut late, _) = Witnesses::read(&format!("{text}{}{marked}", witness(80, 20)));
        witnesses.add(marked);
        witnesses.add(witness(80, 20));
        for witnesses in [&mut witnesses, &mut late] {
            witnesses.add(witness(90, 30));
            witnesses.add(witness(95, 9999));
            let kept: Vec<u64> = witnesses.iter().map(|witness| witness.line.seq).collect();
            assert!(kept.contains(&72) && kept.last() == Some(&95), "{kept:?}");
            assert_eq!(witnesses.unsettled(line(95)), Some(Contradiction::Rewritten { seq: 72 }));
            assert_eq!(witnesses.contradiction(line(95)), None, "which only a reading can tell");
            assert_eq!(Witnesses::read(&witnesses.write()), (witnesses.clone(), 0));
        }
        for seq in 1000..1100 {
            let at = 9999 + seq;
            witnesses.add(Witness { is_contradicted: true, ..witness(seq, at) });
        }
        assert!(witnesses.iter().count() < 20);
    }

    #[test]
    fn what_contradicts_is_told_in_words() {
        let witnesses = shown(&[(120, 0), (170, 9999)]);
        assert_eq!(witnesses.contradiction(line(170)), None);
        assert_eq!(witnesses.contradiction(line(171)), None);
        let told = |line| witnesses.contradiction(line).unwrap().to_string();
        assert_eq!(
            told(line(169)),
            "ends at 169, this machine saw 170: restored from a snapshot, or cut"
        );
        assert!(told(AuditHead { hash: [9; 32], ..line(170) }).starts_with("has another line 170"));
        assert!(told(AuditHead { chain: [2; 16], ..line(999) }).starts_with("is another one"));
        assert!(told(AuditHead::default()).starts_with("is another one"));
        assert_eq!(Witnesses::default().contradiction(AuditHead::default()), None);
    }

    #[test]
    fn what_is_no_witness_is_counted() {
        let text = format!("{}x\n1 2 3 4\n", shown(&[(1, 0)]).write());
        assert_eq!(Witnesses::read(&text), (shown(&[(1, 0)]), 2));
    }
}
