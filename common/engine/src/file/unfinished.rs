//! A file that is being received: a partial, or with `--inplace` the existing file itself.

use std::path::PathBuf;
use std::sync::Arc;

use super::basis::BasisFile;
use super::body::Body;
use super::commit::{CommitOptions, Committed, Landing, Sync};
use super::in_place::InPlace;
use super::owner::{Busy, Owner};
use super::partial::{Likeness, Partial};
use super::replaceable;
use crate::destination::Place;
use lariat_wire::protocol::failure::{Cause, Failure};
use lariat_wire::protocol::transfer::{Begun, Complete, Hash, Offer, Range};

/// An unfinished file, and what it has already of the offered one.
pub struct Opened {
    /// The unfinished file.
    pub(crate) file: Unfinished,
    /// Chunks that may be in it.
    pub(crate) have: Vec<Range>,
    /// A chunk whose beginning may be in it.
    pub(crate) begun: Option<Begun>,
    /// The file to be replaced, if it may resemble the offered one.
    pub(crate) basis: Option<BasisFile>,
}

/// An unfinished file.
pub(crate) enum Unfinished {
    /// It gets its name when it is complete.
    Partial(Partial),
    /// It is the existing file.
    InPlace(InPlace),
}

impl Opened {
    /// Opens the file that content for a place is written into. With `in_place` that is the existing file, if
    /// there is one. A place whose name may not be replaced is refused.
    pub fn open(
        place: Place,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
        in_place: bool,
    ) -> Result<Self, Failure> {
        let path = place.path().into_os_string().into_encoded_bytes();
        replaceable::check(&place.directory, &place.name, &path)?;
        Self::open_replacing(place, Landing::Final, owner, offer, busy, in_place)
    }

    /// Opens the file that content for a place is written into, whatever has the place's name.
    pub(crate) fn open_replacing(
        mut place: Place,
        landing: Landing,
        owner: Owner,
        offer: &Offer,
        busy: Busy,
        in_place: bool,
    ) -> Result<Self, Failure> {
        if in_place {
            match InPlace::open(place, offer, busy)? {
                Ok((file, have)) => {
                    let file = Unfinished::InPlace(file);
                    return Ok(Self { file, have, begun: None, basis: None });
                }
                Err(back) => place = back,
            }
        }
        let (partial, left, basis) = Partial::open(place, landing, owner, offer, busy)?;
        let file = Unfinished::Partial(partial);
        Ok(Self { file, have: left.chunks, begun: left.begun, basis })
    }

    /// The path of the complete file.
    pub fn path(&self) -> PathBuf {
        self.file.path()
    }
}

impl Unfinished {
    /// The path of the complete file.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Partial(partial) => partial.path(),
            Self::InPlace(file) => file.path(),
        }
    }

    /// The file that chunks are written into.
    pub(crate) fn body(&self) -> &Arc<Body> {
        match self {
            Self::Partial(partial) => partial.body(),
            Self::InPlace(file) => file.body(),
        }
    }

    /// Keeps the bytes of a chunk that arrived before the connection was cut; see [`Partial::keep_begun`].
    pub(crate) fn keep_begun(&self, index: u64, before: usize, bytes: &[u8]) {
        match self {
            Self::Partial(partial) => partial.keep_begun(index, before, bytes),
            // The next attempt compares all of it.
            Self::InPlace(_) => {}
        }
    }

    /// Commits the file, whose content is complete. Returns its hash too if it was read back.
    pub(crate) fn commit(
        self,
        complete: Complete,
        options: &CommitOptions,
        sync: Sync,
    ) -> Result<(Committed, Option<Hash>), Failure> {
        match self {
            Self::Partial(partial) => partial.commit(complete, options, sync),
            Self::InPlace(file) => {
                file.commit(complete, options, sync).map(|hash| (Committed::Placed, hash))
            }
        }
    }

    /// Records how the content compares with that of the replaced file.
    pub(crate) fn set_likeness(&mut self, likeness: Likeness) {
        if let Self::Partial(partial) = self {
            partial.likeness = likeness;
        }
    }

    /// Records that the content at this offset was not copied from the replaced file.
    pub(crate) fn differs_at(&mut self, offset: u64) {
        if let Self::Partial(partial) = self
            && partial.likeness == Likeness::Same
        {
            partial.likeness = Likeness::Unknown(offset);
        }
    }

    /// Ends a failed transfer; see [`Partial::abandon`].
    pub(crate) fn abandon(self, cause: &Cause) {
        if let Self::Partial(partial) = self {
            partial.abandon(cause);
        }
    }
}
