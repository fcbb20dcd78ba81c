//! Parts of messages to which later versions append fields, so that either end may be the older one.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;

/// A part of a message to which later versions append fields. On the wire it is bytes; a reader ignores what a newer
/// version has appended, and what an older one did not write reads as zero, false or empty. So it has no enums to
/// which variants may be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grown<T>(pub T);

impl<T: Serialize> Serialize for Grown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&codec::encode(&self.0).map_err(S::Error::custom)?)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Grown<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        codec::decode_grown(&bytes).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Old {
        name: String,
        parts: Vec<Grown<(u8,)>>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct New {
        name: String,
        parts: Vec<Grown<(u8, Option<u32>)>>,
        more: Vec<String>,
    }

    #[test]
    fn either_end_may_be_the_older_one() {
        let name = || "a".to_owned();
        let old = Grown(Old { name: name(), parts: vec![Grown((1,)), Grown((2,))] });
        let read: Grown<New> = codec::decode(&codec::encode(&old).unwrap()).unwrap();
        let parts = vec![Grown((1, None)), Grown((2, None))];
        assert_eq!(read.0, New { name: name(), parts, more: Vec::new() });
        let parts = vec![Grown((1, Some(7))), Grown((2, None))];
        let new = Grown(New { name: name(), parts, more: vec![name()] });
        let read: Grown<Old> = codec::decode(&codec::encode(&new).unwrap()).unwrap();
        assert_eq!(read, old);
    }

    #[test]
    fn what_is_malformed_is_an_error() {
        assert!(codec::decode::<Grown<u8>>(&[9, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
        let long = [&4_u64.to_le_bytes()[..], &[0xff; 4]].concat();
        assert!(codec::decode::<Grown<Vec<u8>>>(&long).is_err());
    }
}
