//! The file that a transfer replaces, where it is worth being cut.

use std::fs::File;
use std::sync::Arc;

use super::delta::{Params, Seed};
use super::destination::Place;
use super::replaced::Replaced;
use lariat_wire::protocol::transfer::Offer;

/// A basis smaller than this, in bytes, is not worth being cut.
pub(super) const MIN_BASIS: u64 = 64 * 1024;

/// The file that will be replaced, and how it is cut.
pub struct BasisFile {
    pub(super) file: Arc<File>,
    pub(super) size: u64,
    pub(super) params: Params,
    pub(super) seed: Seed,
}

impl BasisFile {
    /// What is under the destination's name now.
    pub(super) fn find(place: &Place, offer: &Offer) -> Option<Self> {
        if offer.chunks() <= 1 || offer.sparse {
            return None;
        }
        let Replaced { file, stat } = Replaced::find(&place.directory, &place.name)?;
        let file = file?;
        let size = u64::try_from(stat.st_size).ok().filter(|&size| size >= MIN_BASIS)?;
        let params = Params::for_basis(size)?;
        // Without randomness the whole file is sent, which is no worse than it was.
        let seed = Seed::generate().ok()?;
        Some(Self { file: Arc::new(file), size, params, seed })
    }
}
