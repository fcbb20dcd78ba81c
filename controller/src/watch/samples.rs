//! What tests of several files need.

use lariat_client::status::Measured;
use lariat_wire::grown::Grown;
use lariat_wire::protocol::status::{Disk, MemoryUse, Report};
use proptest::prelude::*;

use super::key::Key;

/// A status with these percentages.
pub(super) fn measured(load: u32, memory: u64, disk: u64) -> Box<Measured> {
    let disk = Disk { path: b"/".to_vec(), size: 100, free: 100 - disk, ..Disk::default() };
    let report = Report {
        version: "0.1.0".to_owned(),
        time_ms: 1000,
        up_ms: 90_061_000,
        processors: 1,
        load: [load, 0, 0],
        memory: MemoryUse { total: 100, available: 100 - memory, ..MemoryUse::default() },
        certificate_end: 86_400 * 300,
        disks: vec![Grown(disk)],
        ..Report::default()
    };
    Box::new(Measured { report, clock_skew: 0.1 })
}

/// Any key.
pub(super) fn keys() -> impl Strategy<Value = Key> {
    let named = [
        Key::Up,
        Key::Down,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Enter,
        Key::Escape,
        Key::Backspace,
    ];
    let letters = "/rwnldmjtx1b\u{200b}ß".chars().map(Key::Char);
    prop::sample::select(named.into_iter().chain(letters).collect::<Vec<_>>())
}
