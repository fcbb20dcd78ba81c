//! Files whose content the kernel generates on each read: their size is not that of their content, so they are
//! read to their end. Most have size 0, those of sysfs and configfs 4096.

use std::os::fd::AsFd;

/// The kernel's own file systems, by their magic numbers from statfs(2).
const DISKS: [u32; 14] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x4249_4e4d, // binfmt_misc
    0x6573_5543, // fusectl
    0x0765_5821, // resctrl
    0xcafe_4a11, // bpf
];

/// No content is this large. A file of `/proc` with such a size, kcore, is refused by its size.
pub(crate) const LARGEST: i64 = 1 << 42;

/// Whether an open file or directory is on one of the kernel's own file systems.
pub(crate) fn is_on_kernels(file: impl AsFd) -> bool {
    let kind = rustix::fs::fstatfs(file).map_or(0, |disk| disk.f_type);
    // The type is signed on some systems, so large numbers are negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32 bits count")]
    let kind = kind as u32;
    DISKS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn the_kernels_file_systems_are_known_from_disks() {
        assert!(is_on_kernels(File::open("/proc/version").unwrap()));
        assert!(is_on_kernels(File::open("/proc").unwrap()));
        assert!(!is_on_kernels(tempfile::tempfile().unwrap()));
        if let Ok(sysfs) = File::open("/sys/kernel") {
            assert!(is_on_kernels(sysfs));
        }
    }
}
