//! What a terminal shows of work in progress: meters count, [`Pace`] turns counts into rates, the layout decides
//! which text fits, and [`Live`] draws it.

mod fan_out;
mod layout;
mod live;
mod meter;
mod pace;
mod single;

pub(crate) use fan_out::{HostView, Order, Totals, rows};
pub(crate) use live::{EVERY, Live};
pub(crate) use meter::{ItemProgress, Meter};
pub(crate) use pace::Pace;
pub(crate) use single::Single;
