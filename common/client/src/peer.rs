//! A host as enrollment recorded it.

use lariat_base::name::{EnrolmentId, HostName};

use crate::address::Address;

/// A host as enrollment recorded it: where it is, and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, which its certificate must contain.
    pub name: HostName,
    /// The address where its agent listens; `None` if it is only reached through a gateway that it dials.
    pub address: Option<Address>,
    /// This enrollment of it.
    pub enrolment: EnrolmentId,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo.
    pub spki: [u8; 32],
    /// The hash of a new key that the host is about to take, if there is one: either key is accepted.
    pub next_spki: Option<[u8; 32]>,
}

impl Peer {
    /// Its address, for messages.
    pub(crate) fn place(&self) -> String {
        self.address.as_ref().map_or_else(|| "no address".to_owned(), Address::to_string)
    }
}
