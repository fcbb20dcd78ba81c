//! Small files in one body, as a fuzzer sends them.

use super::pack::{files, whole};

/// Takes a body apart.
///
/// # Panics
/// When files overlap, or are not within the body.
pub fn pack(body: &[u8]) {
    let begun = whole(body);
    let mut end = 0;
    for (_, range) in &begun {
        assert!(end < range.start && range.start <= range.end && range.end <= body.len());
        end = range.end;
    }
    if let Ok(all) = files(body) {
        assert_eq!(all, begun);
        assert_eq!(end, body.len());
    }
}
