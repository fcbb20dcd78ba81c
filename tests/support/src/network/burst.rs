//! A burst: segments of one TCP connection that the kernel hands over, and takes, as one packet.
//!
//! One packet for each segment would cost more than what is measured over the link. A burst has the headers of its
//! first segment, and the payload of all; the header of `linux/virtio_net.h` in front says how long a segment is. What
//! is lost is lost segment by segment, and new bursts are made of the rest. TCP's checksums are left out, because no
//! packet leaves the machine.

use std::ops::Range;
use std::time::Instant;

/// The length of `struct virtio_net_hdr`.
pub const HEADER: usize = 10;

/// The longest frame: the header and an IP packet.
pub const LONGEST: usize = HEADER + 65_535;

/// `VIRTIO_NET_HDR_GSO_TCPV4`.
const TCP_OVER_IPV4: u8 = 1;

/// One packet, or a burst of several.
pub struct Burst<'a> {
    frame: &'a [u8],
    /// Where TCP's header and the payload begin; meaningless in one packet.
    tcp: usize,
    payload: usize,
    /// The bytes of payload in each segment but the last.
    segment: usize,
    /// The number of segments.
    count: usize,
}

impl<'a> Burst<'a> {
    /// Reads the headers of what a device has given. `None` if they make no sense.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let packet = frame.get(HEADER..)?;
        let segment = usize::from(u16::from_ne_bytes([frame[4], frame[5]]));
        if frame[1] == 0 {
            let one = (!packet.is_empty()).then_some(1)?;
            return Some(Self { frame, tcp: HEADER, payload: HEADER, segment: 0, count: one });
        }
        if frame[1] != TCP_OVER_IPV4 || segment == 0 || packet.first()? >> 4 != 4 {
            return None;
        }
        let words = |byte: &u8| usize::from(byte & 0x0f) * 4;
        let tcp = HEADER + packet.first().map(words).filter(|&length| length >= 20)?;
        let payload = tcp + frame.get(tcp + 12).map(|byte| words(&(byte >> 4)))?;
        let bytes = frame.len().checked_sub(payload)?;
        let count = bytes.div_ceil(segment).max(1);
        (payload >= tcp + 20).then_some(Self { frame, tcp, payload, segment, count })
    }

    /// The IP packet, without the header in front.
    pub fn packet(&self) -> &'a [u8] {
        &self.frame[HEADER..]
    }

    /// Asks for each segment, by the length of its packet, when it arrives if at all. Returns what is left: bursts of
    /// segments between which none is missing, each with the time when its last one arrives.
    pub fn carry(
        &self,
        mut arrives: impl FnMut(usize) -> Option<Instant>,
    ) -> Vec<(Instant, Vec<u8>)> {
        let (mut bursts, mut run) = (Vec::new(), None::<(Instant, Range<usize>)>);
        for number in 0..self.count {
            match arrives(self.length(number)) {
                Some(at) => {
                    let begin = run.map_or(number, |(_, run)| run.start);
                    run = Some((at, begin..number + 1));
                }
                None => bursts.extend(run.take().map(|(at, run)| (at, self.part(run)))),
            }
        }
        bursts.extend(run.map(|(at, run)| (at, self.part(run))));
        bursts
    }

    /// Where the payload of these segments is in the frame.
    fn bytes(&self, run: Range<usize>) -> Range<usize> {
        let at = |number: usize| (self.payload + number * self.segment).min(self.frame.len());
        at(run.start)..at(run.end)
    }

    /// The length of a segment's own packet.
    fn length(&self, number: usize) -> usize {
        if self.count == 1 {
            return self.packet().len();
        }
        self.payload - HEADER + self.bytes(number..number + 1).len()
    }

    /// A burst of these segments.
    fn part(&self, run: Range<usize>) -> Vec<u8> {
        if run.len() == self.count {
            return self.frame.to_vec();
        }
        let Self { tcp, payload, segment, .. } = *self;
        let mut part = self.frame[..payload].to_vec();
        part.extend_from_slice(&self.frame[self.bytes(run.clone())]);
        if run.len() == 1 {
            part[1] = 0;
            part[4..6].fill(0);
        }
        // Both lengths fit, being less than those of the whole burst.
        let length = u16::try_from(part.len() - HEADER).unwrap_or(u16::MAX);
        let skipped = u32::try_from(run.start * segment).unwrap_or(u32::MAX);
        let number = u16::try_from(run.start).unwrap_or(u16::MAX);
        let ip = &mut part[HEADER..tcp];
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(number);
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        ip[10..12].fill(0);
        let sum = checksum(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let header = &mut part[tcp..payload];
        let sequence = [header[4], header[5], header[6], header[7]];
        let sequence = u32::from_be_bytes(sequence).wrapping_add(skipped);
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        if run.end < self.count {
            const FIN_AND_PSH: u8 = 0x09;
            header[13] &= !FIN_AND_PSH;
        }
        part
    }
}

/// The checksum of an IPv4 header.
pub fn checksum(header: &[u8]) -> u16 {
    let words =
        header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}
