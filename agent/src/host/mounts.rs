//! Which file systems of the mount table are a host's own disks: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Most file systems that are looked at.
const MOST: usize = 64;

/// Types of file systems that are images, and always full.
const IMAGES: [&str; 5] = ["squashfs", "iso9660", "erofs", "udf", "cramfs"];

/// Types of file systems that are disks although their source is no device.
const WITHOUT_DEVICE: [&str; 3] = ["zfs", "btrfs", "bcachefs"];

/// Types of file systems whose server may not answer. How full they are is their server's to tell, and each of its
/// clients would ask.
const NETWORK: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "glusterfs",
    "lustre",
    "ocfs2",
    "gfs2",
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The device: `8:1`.
    pub(super) device: String,
    /// Where it is mounted.
    pub(super) path: PathBuf,
    /// Its type.
    pub(super) kind: String,
}

/// The disks of a mount table: local file systems that data is kept on, and whatever is mounted at `/`; each of them
/// once, where its path is shortest.
pub(super) fn disks(table: &[u8]) -> Vec<Mount> {
    let mut disks: Vec<Mount> = Vec::new();
    for mount in table.split(|&byte| byte == b'\n').filter_map(parse) {
        let known = disks.iter_mut().find(|known| known.device == mount.device);
        if let Some(known) = known {
            if mount.path.as_os_str().len() < known.path.as_os_str().len() {
                *known = mount;
            }
        } else if disks.len() < MOST {
            disks.push(mount);
        }
    }
    disks.sort_by(|a, b| a.path.cmp(&b.path));
    disks
}

/// A line of the table; `None` if its file system is no disk.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let device = text(fields.nth(2)?)?;
    let path = unescape(fields.nth(1)?);
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, source) = (text(after.next()?)?, after.next()?);
    let is_network = NETWORK.contains(&kind.as_str()) || kind.starts_with("fuse");
    let is_image = IMAGES.contains(&kind.as_str());
    let is_disk = source.starts_with(b"/dev/") || WITHOUT_DEVICE.contains(&kind.as_str());
    let is_wanted = !is_network && (path == b"/" || is_disk && !is_image);
    is_wanted.then(|| Mount { device, path: OsString::from_vec(path).into(), kind })
}

/// The kernel writes space, tab, line feed and backslash as `\ooo`.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    while let Some((&first, rest)) = field.split_first() {
        let octal = (first == b'\\').then(|| rest.get(..3)).flatten();
        let byte = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = byte.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            path.push(byte);
            field = &rest[3..];
        } else {
            path.push(first);
            field = rest;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
29 28 0:25 / /tmp rw - tmpfs tmpfs rw
30 28 8:2 / /srv/data rw shared:5 master:2 - xfs /dev/mapper/vg-data rw
31 28 8:2 /x /data rw - xfs /dev/mapper/vg-data rw
32 28 0:40 / /mnt/nfs rw - nfs4 server:/export rw
33 28 7:0 / /snap/core ro - squashfs /dev/loop0 ro
34 28 0:41 / /mnt/a\\040b\\134 rw - zfs tank/a rw
35 28 8:3 / /mnt/far rw - fuse.sshfs /dev/odd rw
36 28 8:4 / /mnt/ntfs rw - ntfs3 /dev/sdb1 rw
";

    fn paths(table: &str) -> Vec<String> {
        let disks = disks(table.as_bytes()).into_iter();
        disks.map(|disk| format!("{} {}", disk.path.display(), disk.kind)).collect()
    }

    #[test]
    fn disks_are_local_and_come_once() {
        assert_eq!(paths(TABLE), ["/ ext4", "/data xfs", "/mnt/a b\\ zfs", "/mnt/ntfs ntfs3"]);
    }

    #[test]
    fn a_container_has_its_root_whatever_it_is() {
        assert_eq!(paths("1 0 0:50 / / rw - overlay overlay rw,lowerdir=/x\n"), ["/ overlay"]);
        assert_eq!(paths("1 0 0:50 / / rw - nfs server:/ rw\n"), [""; 0]);
    }

    #[test]
    fn a_table_of_another_kind_has_no_disks_and_a_long_one_has_some() {
        for odd in ["", "\n\n", "1 2 3", "1 2 8:1 / / rw", "1 2 8:1 / / rw - ext4", "- - - - - - -"]
        {
            assert!(disks(odd.as_bytes()).is_empty(), "{odd}");
        }
        let line = |n| format!("{n} 1 8:{n} / /m{n} rw - ext4 /dev/sd{n} rw\n");
        assert_eq!(disks((0..1000).map(line).collect::<String>().as_bytes()).len(), MOST);
        assert_eq!(unescape(b"\\1\\zzz\\777\\011"), b"\\1\\zzz\\777\t");
    }
}
