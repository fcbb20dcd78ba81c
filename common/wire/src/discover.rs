//! Finding a fleet's hosts on the local network: one datagram asks, and each agent that answers proves its name.
//!
//! Encoding and decoding only. Every probe has the same length and no answer is longer, so that nobody can use agents to
//! multiply traffic. What is signed is bound to the probe's nonce; where the answer comes from is not, so whoever
//! acts on it logs in there first.

use std::net::{Ipv4Addr, Ipv6Addr};

use lariat_base::name::HostName;
use sha2::{Digest, Sha256};

use crate::limits::MAX_DATAGRAM;

/// The UDP port of agents that can be found.
pub const PORT: u16 = 7433;

/// The IPv4 group that probes are sent to: of this network segment, by its address.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 74, 33);
/// The IPv6 group that probes are sent to: link-local.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x7433);

/// The hop limit of every probe, and of none that a router has passed on.
pub const HOPS: u8 = 255;

/// Length of every probe, in bytes: it fits a datagram of IPv6 wherever that goes.
pub const PROBE_LEN: usize = MAX_DATAGRAM;

/// Longest answer, in bytes.
pub const MAX_ANSWER: usize = PROBE_LEN;

const PROBE_MAGIC: [u8; 8] = *b"lariat?\0";
const ANSWER_MAGIC: [u8; 8] = *b"lariat!\0";
const VERSION: u16 = 1;

/// What precedes that which is signed.
const CONTEXT: &[u8] = b"lariat/1 discover\0";

/// Space for a name, padded with zeros.
const NAME_LEN: usize = 64;

/// Identifies a fleet to those who know its CA's certificate.
pub type Tag = [u8; 32];

/// The tag of a fleet: the SHA-256 of its CA's certificate, in DER.
pub fn tag(ca: &[u8]) -> Tag {
    Sha256::digest(ca).into()
}

/// A datagram is none of these, or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {0} of this version")]
pub struct BadDatagram(&'static str);

/// Asks the hosts of one fleet who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The fleet.
    pub tag: Tag,
    /// Fresh for each probe.
    pub nonce: [u8; 32],
}

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The nonce of the probe.
    pub nonce: [u8; 32],
    /// The host's name.
    pub name: HostName,
    /// The TCP port of its agent.
    pub port: u16,
    /// The TLS code of the signature's scheme.
    pub scheme: u16,
    /// The signature of [`signed`] by the certificate's key.
    pub signature: Vec<u8>,
    /// The host's certificate, DER.
    pub certificate: Vec<u8>,
}

impl Probe {
    /// Encodes the datagram.
    pub fn encode(&self) -> [u8; PROBE_LEN] {
        let mut datagram = [0; PROBE_LEN];
        let parts: [&[u8]; 4] = [&PROBE_MAGIC, &VERSION.to_le_bytes(), &self.tag, &self.nonce];
        let mut rest = datagram.as_mut_slice();
        for part in parts {
            let (space, behind) = rest.split_at_mut(part.len());
            space.copy_from_slice(part);
            rest = behind;
        }
        datagram
    }

    /// Decodes a datagram.
    pub fn decode(datagram: &[u8]) -> Result<Self, BadDatagram> {
        let parse = || {
            let mut input = Input(datagram);
            let is_probe = datagram.len() == PROBE_LEN
                && input.array()? == PROBE_MAGIC
                && u16::from_le_bytes(input.array()?) == VERSION;
            let probe = Self { tag: input.array()?, nonce: input.array()? };
            (is_probe && input.0.iter().all(|&byte| byte == 0)).then_some(probe)
        };
        parse().ok_or(BadDatagram("probe"))
    }
}

/// What an answer signs.
pub fn signed(nonce: &[u8; 32], name: &HostName, port: u16) -> Vec<u8> {
    [CONTEXT, nonce, &padded(name), &port.to_le_bytes()].concat()
}

fn padded(name: &HostName) -> [u8; NAME_LEN] {
    let mut padded = [0; NAME_LEN];
    // A name has at most 63 bytes.
    padded[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    padded
}

impl Answer {
    /// Encodes the datagram; `None` if it would be longer than a probe.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut datagram = Vec::with_capacity(MAX_ANSWER);
        datagram.extend_from_slice(&ANSWER_MAGIC);
        datagram.extend_from_slice(&VERSION.to_le_bytes());
        datagram.extend_from_slice(&self.nonce);
        datagram.extend_from_slice(&padded(&self.name));
        datagram.extend_from_slice(&self.port.to_le_bytes());
        datagram.extend_from_slice(&self.scheme.to_le_bytes());
        for part in [&self.signature, &self.certificate] {
            datagram.extend_from_slice(&u16::try_from(part.len()).ok()?.to_le_bytes());
            datagram.extend_from_slice(part);
        }
        (datagram.len() <= MAX_ANSWER).then_some(datagram)
    }

    /// Decodes a datagram. Nothing that it says is verified.
    pub fn decode(datagram: &[u8]) -> Result<Self, BadDatagram> {
        let parse = || {
            let mut input = Input(datagram);
            let is_answer = datagram.len() <= MAX_ANSWER
                && input.array()? == ANSWER_MAGIC
                && u16::from_le_bytes(input.array()?) == VERSION;
            let nonce = input.array()?;
            let name = input.array::<NAME_LEN>()?;
            let len = name.iter().position(|&byte| byte == 0)?;
            let (name, padding) = name.split_at(len);
            let name = std::str::from_utf8(name).ok()?.parse().ok()?;
            let port = u16::from_le_bytes(input.array()?);
            let scheme = u16::from_le_bytes(input.array()?);
            let (signature, certificate) = (input.bytes()?, input.bytes()?);
            let is_whole = input.0.is_empty() && padding.iter().all(|&byte| byte == 0);
            let answer = Self { nonce, name, port, scheme, signature, certificate };
            (is_answer && is_whole && port != 0).then_some(answer)
        };
        parse().ok_or(BadDatagram("answer"))
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer() -> Answer {
        Answer {
            nonce: [0x0c; 32],
            name: "web1".parse().unwrap(),
            port: 7433,
            scheme: 0x0403,
            signature: vec![0x51; 3],
            certificate: vec![0xce; 2],
        }
    }

    #[test]
    fn datagrams_have_the_bytes_of_the_document() {
        let document = include_str!("../../../docs/PROTOCOL.md");
        let document: String = document.chars().filter(|c| !c.is_whitespace()).collect();
        let probe = Probe { tag: [0x7a; 32], nonce: [0x0c; 32] }.encode();
        assert!(probe[74..].iter().all(|&byte| byte == 0));
        for datagram in [&probe[..74], &answer().encode().unwrap()] {
            let hex = hex::encode(datagram);
            assert!(document.contains(&hex), "docs/PROTOCOL.md lacks {hex}");
        }
        let signed = signed(&[0x0c; 32], &"web1".parse().unwrap(), 7433);
        assert!(signed.starts_with(b"lariat/1 discover\0\x0c") && signed.len() == 18 + 32 + 64 + 2);
        assert!(document.contains(&hex::encode(signed)));
    }

    #[test]
    fn what_is_longer_than_a_probe_is_not_sent() {
        let long = Answer { certificate: vec![0; 1080], ..answer() };
        let len = long.encode().map(|datagram| datagram.len());
        assert!(len.is_some_and(|len| len <= PROBE_LEN), "{len:?}");
        assert_eq!(Answer { certificate: vec![0; 1100], ..answer() }.encode(), None);
        assert_eq!(Answer { certificate: vec![0; 70_000], ..answer() }.encode(), None);
    }

    #[test]
    fn every_cut_and_every_odd_byte_is_refused() {
        let probe = Probe { tag: [1; 32], nonce: [2; 32] };
        let whole = probe.encode();
        assert_eq!(Probe::decode(&whole), Ok(probe));
        for len in 0..PROBE_LEN {
            assert!(Probe::decode(&whole[..len]).is_err());
        }
        assert!(Probe::decode(&[&whole[..], &[0]].concat()).is_err());
        for at in (0..10).chain(74..PROBE_LEN) {
            let mut odd = whole;
            odd[at] ^= 1;
            assert!(Probe::decode(&odd).is_err(), "{at}");
        }
        let whole = answer().encode().unwrap();
        assert_eq!(Answer::decode(&whole), Ok(answer()));
        for len in 0..whole.len() {
            assert!(Answer::decode(&whole[..len]).is_err());
        }
        assert!(Answer::decode(&[&whole[..], &[0]].concat()).is_err());
        for (at, byte) in [(42, b'W'), (42, 0), (60, b'x'), (106, 0)] {
            let mut odd = whole.clone();
            odd[at] = byte;
            if at == 106 {
                odd[at + 1] = 0;
            }
            assert!(Answer::decode(&odd).is_err(), "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_what_encodes_to_them_or_not_at_all(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut datagram = ANSWER_MAGIC.to_vec();
            datagram.extend(VERSION.to_le_bytes());
            datagram.extend(bytes);
            if let Ok(answer) = Answer::decode(&datagram) {
                prop_assert_eq!(answer.encode(), Some(datagram));
            }
        }
    }
}
