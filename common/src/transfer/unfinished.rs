//! A file that is being received: a partial of its own, or the file itself where it is written in place.

use std::path::PathBuf;
use std::sync::Arc;

use super::basis::BasisFile;
use super::body::Body;
use super::commit::{Placing, Sync};
use super::destination::Place;
use super::in_place::InPlace;
use super::partial::{Busy, Owner, Partial};
use crate::protocol::failure::{Cause, Failure};
use crate::protocol::transfer::{Begun, Offer, Range};

/// An unfinished file, and what there is already of the offered one.
pub struct Opened {
    /// The unfinished file.
    pub partial: Unfinished,
    /// Chunks that may be in it.
    pub have: Vec<Range>,
    /// One more chunk, of which the beginning may be.
    pub begun: Option<Begun>,
    /// The file that will be replaced, if it may be like the offered one.
    pub basis: Option<BasisFile>,
}

/// An unfinished file.
pub enum Unfinished {
    /// It gets its name at the end.
    Partial(Partial),
    /// It has its name already.
    InPlace(InPlace),
}

impl Opened {
    /// Opens what the content for a place is written into: with `in_place` the file that is there, if there is
    /// one.
    pub fn open(
        place: Place,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
        in_place: bool,
    ) -> Result<Self, Failure> {
        if !in_place {
            return Partial::open(place, owner, offer, busy);
        }
        match InPlace::open(place, offer, busy)? {
            Ok((file, have)) => {
                let partial = Unfinished::InPlace(file);
                Ok(Self { partial, have, begun: None, basis: None })
            }
            Err(place) => Partial::open(place, owner, offer, busy),
        }
    }
}

impl Unfinished {
    /// The path that the file will have.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Partial(partial) => partial.path(),
            Self::InPlace(file) => file.place().path(),
        }
    }

    /// What is written into it.
    pub(super) fn body(&self) -> &Arc<Body> {
        match self {
            Self::Partial(partial) => partial.body(),
            Self::InPlace(file) => file.body(),
        }
    }

    /// Keeps the next bytes of a chunk that was cut on its way, `before` of which were there.
    pub(super) fn keep_begun(&self, index: u64, before: usize, bytes: &[u8]) {
        match self {
            Self::Partial(partial) => partial.keep_begun(index, before, bytes),
            // It is compared as a whole the next time.
            Self::InPlace(_) => {}
        }
    }

    /// All of the content is there.
    pub(super) fn commit(self, size: u64, placing: &Placing, sync: Sync) -> Result<(), Failure> {
        match self {
            Self::Partial(partial) => partial.commit(size, placing, sync),
            Self::InPlace(file) => file.commit(size, placing, sync),
        }
    }

    /// The transfer failed.
    pub(super) fn abandon(self, cause: &Cause) {
        if let Self::Partial(partial) = self {
            partial.abandon(cause);
        }
    }
}
