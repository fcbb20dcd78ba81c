//! The files of a host's audit, as the host sends them: in pieces of any length, with a new file behind each byte 0xff.
#![no_main]

use lariat_base::audit::{FileName, Verifier, read};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let mut verifier = Verifier::default();
    let mut seen = 0;
    for file in bytes.split(|&b| b == 0xff) {
        if verifier.file(FileName(verifier.so_far().last + 1)).is_err() {
            return;
        }
        for piece in file.chunks(usize::from(size) + 1) {
            let mut each = |head: &lariat_base::audit::Head<'_>, line: &[u8]| {
                assert!(head.is_sealed && head.seq > seen, "only lines that are right count");
                assert_eq!(read(line).as_ref(), Ok(head));
                seen = head.seq;
            };
            if verifier.bytes(piece, &mut each).is_err() {
                return;
            }
        }
    }
    if let Ok(whole) = verifier.finish() {
        assert!(whole.first <= whole.last && whole.last == seen);
    }
});
