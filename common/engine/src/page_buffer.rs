//! A buffer that begins in the middle of a page, for what is read from files and written to them.
//!
//! The kernel copies to and from the page cache with `rep movsb`, which on AMD's Zen 3 takes up to four times as long
//! when the target is 1 to 31 bytes further into its page than the source is into its own. So it is for a large block of
//! malloc, which begins 16 bytes behind the beginning of a page; and for a buffer that begins with its page, where what is
//! read has moved in its file by a few bytes.

use std::ops::{Deref, DerefMut};

const PAGE: usize = 4096;

/// Bytes that begin in the middle of a page.
#[derive(Default)]
pub(crate) struct PageBuffer {
    space: Vec<u8>,
    start: usize,
}

impl PageBuffer {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Self {
        let mut space = vec![0; len + PAGE];
        // Less than a page, but the function may refuse to say where it is.
        let to_page = space.as_ptr().align_offset(PAGE).min(PAGE);
        let start = (to_page + PAGE / 2) % PAGE;
        space.truncate(start + len);
        Self { space, start }
    }

    /// Makes it `len` bytes long. Its bytes are lost if it was never as long before.
    pub(crate) fn resize(&mut self, len: usize) {
        if self.space.capacity() < self.start + len {
            *self = Self::new(len);
        } else {
            // Never moves the bytes, since there is room for them.
            self.space.resize(self.start + len, 0);
        }
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.space[self.start..]
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.space[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_in_the_middle_of_a_page_whatever_its_length_was() {
        let mut buffer = PageBuffer::default();
        assert!(buffer.is_empty());
        for len in [1, 100, 4095, 4096, 4097, 512 * 1024, 3, 512 * 1024, 1 << 20] {
            buffer.resize(len);
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % PAGE), (len, PAGE / 2), "{len}");
            assert_eq!(PageBuffer::new(len).as_ptr().addr() % PAGE, PAGE / 2, "{len}");
        }
    }

    #[test]
    fn a_shorter_one_keeps_its_bytes() {
        let mut buffer = PageBuffer::new(10_000);
        buffer.fill(7);
        buffer.resize(5);
        assert_eq!(*buffer, [7; 5]);
        buffer.resize(8);
        assert_eq!(*buffer, [7, 7, 7, 7, 7, 0, 0, 0]);
    }
}
