//! Bursts of TCP segments, of which the link loses some.

use std::time::{Duration, Instant};

use lariat_testing::network::burst::{Burst, HEADER, checksum};

const SEQUENCE: u32 = u32::MAX - 100;
const PSH_AND_ACK: u8 = 0x18;
const ACK: u8 = 0x10;

/// Segments of 100 bytes, the last of 50, each byte with its segment's number.
fn burst(segments: u8) -> Vec<u8> {
    let payload = (0..segments).flat_map(|number| {
        let length = if number + 1 == segments { 50 } else { 100 };
        std::iter::repeat_n(number, length)
    });
    let payload: Vec<u8> = payload.collect();
    let mut frame = vec![0; HEADER + 20 + 32];
    frame[..2].copy_from_slice(&[1, 1]);
    frame[4..6].copy_from_slice(&100_u16.to_ne_bytes());
    frame.extend(payload);
    let length = u16::try_from(frame.len() - HEADER).unwrap();
    let ip = &mut frame[HEADER..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    ip[4..6].copy_from_slice(&0xffff_u16.to_be_bytes());
    ip[9] = 6;
    let tcp = &mut ip[20..];
    tcp[4..8].copy_from_slice(&SEQUENCE.to_be_bytes());
    tcp[12] = 8 << 4;
    tcp[13] = PSH_AND_ACK;
    frame
}

/// What is left of a burst, and when it arrives.
type Carried = Vec<(Instant, Vec<u8>)>;

/// Carries a burst, and loses the segments of these numbers. Returns the segments' lengths, what is left, and the time
/// when the first segment arrives; the others follow by the second.
fn carry(frame: &[u8], lost: &[usize]) -> (Vec<usize>, Carried, Instant) {
    let (begin, mut lengths) = (Instant::now(), Vec::new());
    let carried = Burst::parse(frame).unwrap().carry(|length| {
        lengths.push(length);
        let number = lengths.len() - 1;
        let at = begin + Duration::from_secs(number as u64);
        (!lost.contains(&number)).then_some(at)
    });
    (lengths, carried, begin)
}

#[test]
fn a_burst_of_which_nothing_is_lost_stays_as_it_is() {
    let frame = burst(4);
    let (lengths, carried, begin) = carry(&frame, &[]);
    assert_eq!(lengths, [152, 152, 152, 102]);
    assert_eq!(carried, [(begin + Duration::from_secs(3), frame.clone())]);
    assert_eq!(carry(&frame, &[0, 1, 2, 3]).1, []);
}

#[test]
fn what_is_left_is_bursts_and_packets_with_headers_of_their_own() {
    let (_, carried, begin) = carry(&burst(6), &[2, 4]);
    let seen: Vec<_> = carried
        .iter()
        .map(|(at, part)| {
            let (ip, tcp) = (&part[HEADER..HEADER + 20], &part[HEADER + 20..HEADER + 52]);
            let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u32::from(byte));
            assert_eq!(checksum(ip), 0);
            assert_eq!(number(&ip[2..4]) as usize, part.len() - HEADER);
            let payload = &part[HEADER + 52..];
            let gso = (part[1], u16::from_ne_bytes([part[4], part[5]]));
            let skipped = number(&tcp[4..8]).wrapping_sub(SEQUENCE);
            let id = number(&ip[4..6]);
            ((*at - begin).as_secs(), gso, skipped, id, tcp[13], payload[0], payload.len())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, (1, 100), 0, 0xffff, ACK, 0, 200),
            (3, (0, 0), 300, 2, ACK, 3, 100),
            (5, (0, 0), 500, 4, PSH_AND_ACK, 5, 50),
        ]
    );
}

#[test]
fn a_packet_that_is_no_burst_is_carried_or_lost_whole() {
    let mut frame = burst(1);
    frame[1] = 0;
    assert_eq!(carry(&frame, &[]).1.len(), 1);
    assert_eq!((carry(&frame, &[]).0, carry(&frame, &[0]).1), (vec![102], vec![]));
}

#[test]
fn headers_that_make_no_sense_are_no_burst() {
    let good = burst(3);
    // Without a segment's length, of another kind, of IPv6, with headers that are too short or longer than the frame.
    let changes: [(usize, u8); 6] =
        [(1, 4), (HEADER, 0x65), (HEADER, 0x44), (HEADER + 32, 0x40), (HEADER + 32, 0xf0), (4, 0)];
    for (place, value) in changes {
        let mut bad = good.clone();
        bad[place] = value;
        if place == 4 {
            bad[5] = 0;
        }
        let is_longer = (place, value) == (HEADER + 32, 0xf0);
        let end = if is_longer { HEADER + 60 } else { bad.len() };
        assert!(Burst::parse(&bad[..end]).is_none(), "{place} {value}");
    }
    for length in 0..HEADER + 52 {
        assert!(Burst::parse(&good[..length]).is_none(), "{length}");
    }
}
