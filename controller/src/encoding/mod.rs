//! `--encoding`: text of hosts that is not UTF-8 is decoded on its way here, and stdin is encoded on its way there.
//!
//! [`name`] knows the encodings, [`decoder`] and [`encoder`] convert streams without I/O, across the borders of
//! whatever pieces they come in, [`decoded`] and [`encoded`] are a destination and a source that do so, and
//! [`conversion`] is what the option asks for. Invariant: what can't be converted is replaced, counted and reported.

mod conversion;
mod decoded;
mod decoder;
mod encoded;
mod encoder;
mod name;
#[cfg(test)]
mod tests;

pub(crate) use conversion::Conversion;
pub(crate) use decoded::Decoded;
pub(crate) use encoded::Encoded;
pub(crate) use name::{COMMON, EncodingOption, HostEncoding};
