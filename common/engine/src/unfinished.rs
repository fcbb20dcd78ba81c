//! A file that is being received: a partial of its own, or the file itself where it is written in place.

use std::path::PathBuf;
use std::sync::Arc;

use super::basis::BasisFile;
use super::body::Body;
use super::commit::{CommitOptions, Committed, Landing, Sync};
use super::destination::Place;
use super::in_place::InPlace;
use super::partial::{Busy, Likeness, Owner, Partial};
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::{Begun, Offer, Range};

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
        match Self::in_place(place, offer, busy, in_place)? {
            Ok(opened) => Ok(opened),
            Err(place) => Partial::open(place, owner, offer, busy),
        }
    }

    /// Opens what the content for a place is written into of which is known that what is there may be replaced.
    pub(super) fn open_for(
        place: Place,
        landing: Landing,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
        in_place: bool,
    ) -> Result<Self, Failure> {
        match Self::in_place(place, offer, busy, in_place)? {
            Ok(opened) => Ok(opened),
            Err(place) => Partial::open_for(place, landing, owner, offer, busy),
        }
    }

    fn in_place(
        place: Place,
        offer: &Offer,
        busy: Busy,
        in_place: bool,
    ) -> Result<Result<Self, Place>, Failure> {
        if !in_place {
            return Ok(Err(place));
        }
        Ok(InPlace::open(place, offer, busy)?.map(|(file, have)| {
            let partial = Unfinished::InPlace(file);
            Self { partial, have, begun: None, basis: None }
        }))
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
    pub(super) fn commit(
        self,
        size: u64,
        placing: &CommitOptions,
        sync: Sync,
    ) -> Result<Committed, Failure> {
        match self {
            Self::Partial(partial) => partial.commit(size, placing, sync),
            Self::InPlace(file) => file.commit(size, placing, sync).map(|()| Committed::Placed),
        }
    }

    /// Notes how the content compares with what it replaces.
    pub(super) fn compares(&mut self, likeness: Likeness) {
        if let Self::Partial(partial) = self {
            partial.likeness = likeness;
        }
    }

    /// Notes that at this offset there is something that was not taken from what it replaces.
    pub(super) fn has_own(&mut self, offset: u64) {
        if let Self::Partial(partial) = self
            && partial.likeness == Likeness::Same
        {
            partial.likeness = Likeness::Unknown(offset);
        }
    }

    /// The transfer failed.
    pub(super) fn abandon(self, cause: &Cause) {
        if let Self::Partial(partial) = self {
            partial.abandon(cause);
        }
    }
}
