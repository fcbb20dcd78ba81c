//! What a job is called on its host: its key and its id together, for an id is the controller's choice. So no
//! key can take another's ids, or learn of them.

use std::fmt;
use std::str::FromStr;

use lariat_base::name::{BadId, JobId, KeyId};

/// A job of a key. Its text is the name of the job's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName {
    /// Whose job it is.
    pub key: KeyId,
    /// Which of that key's.
    pub id: JobId,
}

impl JobName {
    /// Bytes of [`Self::to_bytes`].
    pub(super) const LEN: usize = 32;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.key.0);
        bytes[16..].copy_from_slice(&self.id.0);
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let half = |start| std::array::from_fn(|index| bytes[start + index]);
        Self { key: KeyId(half(0)), id: JobId(half(16)) }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.key, self.id)
    }
}

impl FromStr for JobName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let (key, id) = text.split_once('-').ok_or(BadId)?;
        Ok(Self { key: key.parse()?, id: id.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let name = JobName { key: KeyId([1; 16]), id: JobId([2; 16]) };
        assert_eq!(name.to_string(), format!("{}-{}", "01".repeat(16), "02".repeat(16)));
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(JobName::from_bytes(name.to_bytes()), name);
        for other in ["", "-", &"01".repeat(16), ".new-x", &format!("{name}-")] {
            assert!(other.parse::<JobName>().is_err(), "{other}");
        }
    }
}
