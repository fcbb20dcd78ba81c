//! A host as enrollment recorded it.

use lariat_base::name::{EnrolmentId, HostName};

use crate::address::Address;

/// A host as enrollment recorded it: where it is, and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, for which its certificate must be.
    pub name: HostName,
    /// Where its agent listens.
    pub address: Address,
    /// This enrollment of it.
    pub enrolment: EnrolmentId,
    /// SHA-256 of its certificate's SubjectPublicKeyInfo.
    pub spki: [u8; 32],
}
