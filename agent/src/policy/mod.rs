//! What a key may do: pure functions over the keyring's rules.

pub mod bind;
mod confinement;
mod decide;
mod denial;
mod describe;
mod facts;
pub mod networks;
mod outline;
pub mod path;
pub mod pattern;
pub mod place;

pub use confinement::{Confinement, Obstacle};
pub use decide::{Grant, Program, acting_user, admit, decide};
pub use denial::{Denial, Rule};
pub use describe::{describe, join};
pub use facts::{Clock, Facts};
pub use outline::outline;
