//! The names in a directory.

/// A compact list of names: a directory may have a million.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

impl Names {
    /// Adds a name.
    pub(crate) fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        // Names beyond 4 GiB, 16 million of the longest, are left out.
        if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(self.bytes.len())) {
            self.ends.push((start, end));
        }
    }

    /// Sorts the names by their bytes.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.ends.sort_unstable_by(|&a, &b| slice(bytes, a).cmp(slice(bytes, b)));
    }

    /// All names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().map(|&range| slice(&self.bytes, range))
    }

    /// An estimate of the bytes that the names take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at a position.
    pub(crate) fn get(&self, place: usize) -> Option<&[u8]> {
        self.ends.get(place).map(|&range| slice(&self.bytes, range))
    }
}

fn slice(bytes: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &bytes[start as usize..end as usize]
}
