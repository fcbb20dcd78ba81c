//! The names in a directory.

/// Many names in little room: a directory may have a million.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

impl Names {
    /// Adds one.
    pub(crate) fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        // 4 GiB of names are 16 million of the longest; a directory that has more is cut there.
        if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(self.bytes.len())) {
            self.ends.push((start, end));
        }
    }

    /// Puts them in rising order of their bytes.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        self.ends.sort_unstable_by(|&a, &b| slice(bytes, a).cmp(slice(bytes, b)));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().map(|&range| slice(&self.bytes, range))
    }

    /// Bytes that they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them.
    pub fn get(&self, place: usize) -> Option<&[u8]> {
        self.ends.get(place).map(|&range| slice(&self.bytes, range))
    }
}

fn slice(bytes: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &bytes[start as usize..end as usize]
}
