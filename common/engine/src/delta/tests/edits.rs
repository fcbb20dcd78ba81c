//! Whatever is done to a file, and whatever list a peer sends.

use proptest::prelude::*;

use super::super::{Index, Matcher, Params, Piece};
use super::{noise, params, rebuild};

/// A change to a file. Places are fractions of what there is, lengths are bytes.
#[derive(Clone, Debug)]
enum Edit {
    Insert(f64, Vec<u8>),
    Overwrite(f64, Vec<u8>),
    Delete(f64, usize),
    Move(f64, usize, f64),
    Duplicate(f64, usize, f64),
}

impl Edit {
    fn apply(self, file: &mut Vec<u8>) {
        // Exact enough: any place will do.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let place = |file: &Vec<u8>, at: f64| (file.len() as f64 * at) as usize;
        let part = |file: &Vec<u8>, at, len: usize| {
            let start = place(file, at);
            start..start.saturating_add(len).min(file.len())
        };
        match self {
            Self::Insert(at, bytes) => {
                let at = place(file, at);
                file.splice(at..at, bytes);
            }
            Self::Overwrite(at, bytes) => {
                let part = part(file, at, bytes.len());
                file.splice(part, bytes);
            }
            Self::Delete(at, len) => drop(file.drain(part(file, at, len))),
            Self::Move(at, len, to) => {
                let moved: Vec<u8> = file.drain(part(file, at, len)).collect();
                let to = place(file, to);
                file.splice(to..to, moved);
            }
            Self::Duplicate(at, len, to) => {
                let copied = file[part(file, at, len)].to_vec();
                let to = place(file, to);
                file.splice(to..to, copied);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = || 0.0..=1.0;
    let fresh = || (any::<u64>(), 0..20_000_usize).prop_map(|(seed, len)| noise(seed, len));
    let len = || prop_oneof![0..10_usize, 0..100_000_usize];
    prop_oneof![
        (place(), fresh()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (place(), fresh()).prop_map(|(at, bytes)| Edit::Overwrite(at, bytes)),
        (place(), len()).prop_map(|(at, len)| Edit::Delete(at, len)),
        (place(), len(), place()).prop_map(|(at, len, to)| Edit::Move(at, len, to)),
        (place(), len(), place()).prop_map(|(at, len, to)| Edit::Duplicate(at, len, to)),
    ]
}

/// Random bytes, or a short stretch again and again, and which of the two.
fn data() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let period = prop_oneof![Just(usize::MAX), 1..10_usize, 1..50_000_usize];
    (any::<u64>(), 0..600_000_usize, period).prop_map(|(seed, len, period)| {
        let bytes = noise(seed, len.min(period)).into_iter().cycle().take(len).collect();
        (bytes, period < len)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_edits_are_rebuilt((basis, repeats) in data(), edits in prop::collection::vec(edit(), 0..8)) {
        let mut source = basis.clone();
        // An edit touches three places at most, and each costs some pieces until cuts agree again.
        let resync = edits.len() * 3 * 4 * params().max();
        let fresh: usize = edits.iter().map(|edit| match edit {
            Edit::Insert(_, bytes) | Edit::Overwrite(_, bytes) => bytes.len(),
            _ => 0,
        }).sum();
        edits.into_iter().for_each(|edit| edit.apply(&mut source));
        let literal = rebuild(&basis, &source);
        // In a stretch that repeats there may be no place at which to cut: only lengths decide, and what
        // is moved by less than one of them may be cut differently to its end.
        prop_assert!(repeats || literal <= fresh + resync, "{} literal bytes", literal);
    }

    #[test]
    fn no_list_makes_the_index_panic(
        list in prop::collection::vec((0..4_u8, any::<u32>()), 0..50),
        size: u64,
        log2: u8,
    ) {
        let Some(params) = Params::from_average_log2(log2 % 32) else { return Ok(()) };
        let Ok(index) = Index::new(params, size >> (log2 % 64)) else { return Ok(()) };
        let mut matcher = Matcher::new(index);
        let mut ops = vec![];
        for (letter, len) in list {
            let piece = Piece { hash: [letter; 16], len: len >> (letter * 5) };
            let added = matcher.basis(&[piece], &mut ops);
            matcher.source(piece, &mut ops);
            if added.is_err() || ops.len() > 100_000 {
                break;
            }
        }
    }
}
