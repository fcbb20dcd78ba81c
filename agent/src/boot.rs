//! Which boot of the host this is: a command that may have been started is only asked for again while
//! the host has not been restarted.

use std::io;

use lariat_common::name::BootId;

const PATH: &str = "/proc/sys/kernel/random/boot_id";

/// Reads the kernel's boot id, a UUID.
pub fn id() -> io::Result<BootId> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a UUID");
    let uuid = std::fs::read_to_string(PATH)?;
    uuid.trim_end().replace('-', "").parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_same_each_time() {
        assert_eq!(super::id().unwrap(), super::id().unwrap());
    }
}
