//! Starts a process by clone3 (clone(2)), in a control group if one is given.
//!
//! A fork copies its parent's page tables, and then each page that either of the two writes to: most of the time of a
//! command's start. So the child may use its parent's memory, as that of posix_spawn(3) does, while the parent waits
//! until the child has executed its program. (posix_spawn can't start a process in a group before glibc 2.39.)
#![expect(unsafe_code, reason = "each block says why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::libc;
use nix::unistd::Pid;

use super::raw;

/// The child is born in the control group of `clone_args.cgroup` (linux/sched.h).
const INTO_CGROUP: u64 = 1 << 33;

/// Which memory a child uses until it executes its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// A copy of its parent's.
    Own,
    /// Its parent's, while that waits. Only for a child that stays the same user: others must not be able to trace
    /// a process that shares memory with this one.
    Shared,
}

/// Starts a child that calls `work`, and exits if that returns.
///
/// Only for a process with one thread. With shared memory, all that `work` changes is changed in this process too;
/// what it owns when it executes a program is never dropped.
pub(super) fn start(
    memory: Memory,
    group: Option<BorrowedFd<'_>>,
    mut work: impl FnMut(),
) -> io::Result<Pid> {
    let arguments = libc::clone_args {
        flags: if group.is_some() { INTO_CGROUP } else { 0 },
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |group| u64::from(group.as_raw_fd().unsigned_abs())),
    };
    let stack = (memory == Memory::Shared).then(shared::Stack::new).flatten();
    let forked = match (&stack, group) {
        (Some(stack), _) => return shared::start(arguments, stack, &mut work),
        (None, Some(_)) => fork_by(&arguments)?,
        (None, None) => raw::fork()?,
    };
    Ok(forked.unwrap_or_else(|| {
        work();
        leave()
    }))
}

/// Forks as [`raw::fork`] does, with these arguments.
fn fork_by(arguments: &libc::clone_args) -> io::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM and without a stack this is a fork. No other thread exists, and the kernel only
    // reads the arguments, whose size is passed.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, ptr::from_ref(arguments), size_of::<libc::clone_args>())
    };
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid @ 1..) => Ok(Some(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends a child, without flushing or closing what it shares with its parent.
fn leave() -> ! {
    // SAFETY: it ends the process at once and runs no exit handlers.
    unsafe { libc::_exit(127) }
}

/// Children that use their parent's memory.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod shared {
    use std::arch::asm;
    use std::ffi::c_void;

    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

    use super::{Pid, io, leave, libc, ptr};

    /// Size of a stack and of the guard below it, in bytes; both are multiples of any page's size.
    const SIZE: usize = 256 * 1024;
    const GUARD: usize = 64 * 1024;

    /// The stack of a child.
    pub(super) struct Stack(*mut c_void);

    impl Stack {
        /// `None` if there is no memory for it.
        pub(super) fn new() -> Option<Self> {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping, at an address that the kernel chooses.
            let address = unsafe {
                rustix::mm::mmap_anonymous(ptr::null_mut(), GUARD + SIZE, access, MapFlags::PRIVATE)
            };
            let stack = Self(address.ok()?);
            // SAFETY: the beginning of the mapping, where nothing is yet.
            let guarded = unsafe { rustix::mm::mprotect(stack.0, GUARD, MprotectFlags::empty()) };
            guarded.ok().map(|()| stack)
        }
    }

    impl Drop for Stack {
        fn drop(&mut self) {
            // SAFETY: the whole mapping; the child that used it has executed its program or ended.
            let _ = unsafe { rustix::mm::munmap(self.0, GUARD + SIZE) };
        }
    }

    /// What a child begins with.
    extern "C" fn begin<W: FnMut()>(work: *mut c_void) -> ! {
        // SAFETY: `start` passes a pointer to its `work`, which nobody else uses: the parent waits.
        unsafe { (*work.cast::<W>())() };
        leave()
    }

    /// Starts a child on `stack`, and waits until it has executed its program or ended.
    pub(super) fn start<W: FnMut()>(
        arguments: libc::clone_args,
        stack: &Stack,
        work: &mut W,
    ) -> io::Result<Pid> {
        let sharing = (libc::CLONE_VM | libc::CLONE_VFORK).unsigned_abs();
        let arguments = libc::clone_args {
            flags: arguments.flags | u64::from(sharing),
            stack: stack.0.addr() as u64 + GUARD as u64,
            stack_size: SIZE as u64,
            ..arguments
        };
        // SAFETY: the arguments live until the call returns, here and in the child, and `begin::<W>` takes a `W`.
        let pid = unsafe { clone(&arguments, begin::<W>, ptr::from_mut(work).cast()) };
        match i32::try_from(pid) {
            Ok(pid @ 1..) => Ok(Pid::from_raw(pid)),
            _ => Err(io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EINVAL))),
        }
    }

    /// Calls clone3. The child calls `begin` with `work` on its own stack; this function returns in the parent alone.
    ///
    /// Returns the child's id, or the negative error number.
    ///
    /// # Safety
    ///
    /// The arguments have a stack that nobody else uses, CLONE_VM and CLONE_VFORK; `begin` may be called with `work`.
    unsafe fn clone(
        arguments: &libc::clone_args,
        begin: extern "C" fn(*mut c_void) -> !,
        work: *mut c_void,
    ) -> i64 {
        let result: i64;
        // SAFETY: as said above. The parent waits while the child runs (CLONE_VFORK), and the child neither returns
        // nor uses this stack. The kernel changes no register but those that are named as outputs.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                // The outermost frame of the child.
                "xor ebp, ebp",
                "mov rdi, {work}",
                "call {begin}",
                "ud2",
                "2:",
                work = in(reg) work,
                begin = in(reg) begin,
                inout("rax") libc::SYS_clone3 => result,
                in("rdi") arguments,
                in("rsi") size_of::<libc::clone_args>(),
                out("rcx") _,
                out("r11") _,
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                "svc #0",
                "cbnz x0, 2f",
                // The outermost frame of the child.
                "mov x29, xzr",
                "mov x0, {work}",
                "blr {begin}",
                "brk #1",
                "2:",
                work = in(reg) work,
                begin = in(reg) begin,
                inout("x0") arguments => result,
                in("x1") size_of::<libc::clone_args>(),
                in("x8") libc::SYS_clone3,
            );
        }
        result
    }
}

/// On other processors, children have memory of their own.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod shared {
    use super::{Pid, io, libc};

    pub(super) enum Stack {}

    impl Stack {
        pub(super) fn new() -> Option<Self> {
            None
        }
    }

    pub(super) fn start(
        _: libc::clone_args,
        stack: &Stack,
        _: &mut impl FnMut(),
    ) -> io::Result<Pid> {
        match *stack {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    #[test]
    fn a_child_works_in_its_parents_memory_or_in_its_own() {
        for (memory, seen) in [(Memory::Shared, 1), (Memory::Own, 0)] {
            let mut count = 0;
            let child = start(memory, None, || count += 1).unwrap();
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 127)), "{memory:?}");
            assert_eq!(count, seen, "{memory:?}");
        }
    }

    #[test]
    fn what_is_no_group_is_an_error() {
        let root = File::open("/").unwrap();
        for memory in [Memory::Shared, Memory::Own] {
            let error = start(memory, Some(root.as_fd()), || {}).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{memory:?}");
        }
    }
}
