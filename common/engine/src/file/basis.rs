//! The basis of a delta: the file that a transfer replaces.

use std::fs::File;
use std::sync::Arc;

use crate::delta::{Params, Seed};
use crate::destination::Place;
use crate::metadata::replaced::Replaced;
use lariat_wire::protocol::transfer::Offer;

/// The smallest file, in bytes, that is worth a delta.
pub(crate) const MIN_BASIS: u64 = 64 * 1024;

/// The file that will be replaced, and how it is cut.
pub(crate) struct BasisFile {
    pub(crate) file: Arc<File>,
    pub(crate) size: u64,
    pub(crate) params: Params,
    pub(crate) seed: Seed,
}

impl BasisFile {
    /// Finds the basis under the destination's name, if it is worth a delta.
    pub(crate) fn find(place: &Place, offer: &Offer) -> Option<Self> {
        if offer.chunks() <= 1 || offer.sparse {
            return None;
        }
        let Replaced { file, stat } = Replaced::find(&place.directory, &place.name)?;
        let file = file?;
        let size = u64::try_from(stat.st_size).ok().filter(|&size| size >= MIN_BASIS)?;
        let params = Params::for_basis(size)?;
        // Without randomness the whole file is sent.
        let seed = Seed::generate().ok()?;
        Some(Self { file: Arc::new(file), size, params, seed })
    }
}
