//! A TUN device: a network interface whose packets a program reads and writes, [bursts](super::burst) as one.
#![expect(unsafe_code, reason = "the blocks say why they are sound")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::ioctl::{IntegerSetter, Setter, ioctl, opcode};

/// From `linux/if_tun.h`: IP packets with a `struct virtio_net_hdr` in front, and no other header.
const IFF_TUN: i16 = 0x0001;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
const TUNSETIFF: u32 = opcode::write::<i32>(b'T', 202);

/// What the program does in place of the kernel: nothing about checksums, and the segments of TCP over IPv4.
const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUNSETOFFLOAD: u32 = opcode::write::<u32>(b'T', 208);

/// `struct ifreq` of `linux/if.h`: a name, and a union of which the flags come first.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// A device. It is removed when this is dropped.
pub(super) struct Tun(File);

impl Tun {
    /// Creates a device of this name in the network namespace of this thread.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(nonblocking);
        let file = options.open("/dev/net/tun")?;
        let flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
        let mut request = Request { name: [0; 16], flags, rest: [0; 22] };
        for (to, from) in request.name.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        // SAFETY: TUNSETIFF reads a `struct ifreq`, 40 bytes of which `Request` has every one, with a name that ends
        // in a zero.
        unsafe { ioctl(&file, Setter::<TUNSETIFF, Request>::new(request)) }?;
        let offload = TUN_F_CSUM | TUN_F_TSO4;
        // SAFETY: TUNSETOFFLOAD takes these flags as a number.
        unsafe { ioctl(&file, IntegerSetter::<TUNSETOFFLOAD>::new_usize(offload)) }?;
        Ok(Self(file))
    }

    /// Reads one packet or burst. Does not block.
    pub(super) fn read(&self, packet: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(packet)
    }

    /// Writes one packet or burst. Does not block.
    pub(super) fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write(packet).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
