//! What can be read of the current task: thread ids, the registers of its system call, and the socket behind a
//! descriptor (task -> files -> file -> socket -> sock), which needs no table and so is right also after
//! `dup`, `fork`, SCM_RIGHTS and for connections that are older than the trace.

use crate::maps::offset;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use core::mem::MaybeUninit;
use mta_trace_common::{
    config::{REGS_BLOCK, REGS_WORDS, SOCK_HEAD, Thread},
    event::Socket,
};

/// (tgid, tid) of the current task.
#[inline(always)]
pub fn ids() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// Reads a field of a kernel structure; zero where it cannot be read.
#[inline(always)]
pub fn field<T: Copy>(base: u64, offset: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is as long as said. The helper checks the address, and fills with zeros where it is bad, so its result is not
    // looked at: without the branch the verifier has half the ways to go.
    unsafe {
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, (base as usize + offset) as *const _);
        value.assume_init()
    }
}

/// The same by one load, of a structure whose pointer the verifier knows by its type (an argument of the hook, what a helper gave): the kernel
/// makes such loads safe itself (`BPF_PROBE_MEM`). A pointer that was read from one is not such a pointer everywhere.
#[inline(always)]
pub fn load<T: Copy>(base: u64, offset: usize) -> T {
    // SAFETY: as said; volatile, so that loads are not put together to larger ones than the field that the verifier finds there.
    unsafe { ((base as usize + offset) as *const T).read_volatile() }
}

#[inline(always)]
fn registers() -> u64 {
    // SAFETY: helpers without preconditions.
    unsafe { generated::bpf_task_pt_regs(generated::bpf_get_current_task_btf()) as u64 }
}

/// Number of the system call that the current task is in; -1: none.
#[inline(always)]
pub fn call_number() -> i64 {
    number_in(registers())
}

/// Number of the system call whose registers these are; `int` on arm64 (`syscallno`), so the upper half is not meant.
#[inline(always)]
pub fn number_in(regs: u64) -> i64 {
    i64::from(load::<i32>(regs, offset!(regs_nr)))
}

/// Saves the registers that hold the current system call's arguments.
#[inline(always)]
pub fn save_registers(thread: &mut Thread) {
    registers_of(registers(), &raw mut thread.regs);
}

/// Reads the registers that hold a system call's arguments; fills all words.
#[inline(always)]
pub fn registers_of(regs: u64, words: *mut [u64; REGS_WORDS]) {
    let first = if offset!(regs_first) == 0 { 0 } else { load(regs, offset!(regs_first)) };
    let words = words.cast::<u64>();
    let mut i = 0;
    while i < REGS_BLOCK {
        let word: u64 = load(regs, offset!(regs_block) + i * 8);
        // SAFETY: the destination has so many words and one more.
        unsafe { words.add(i).write_volatile(word) };
        i += 1;
    }
    // SAFETY: as above.
    unsafe { words.add(REGS_BLOCK).write(first) };
}

/// A word of saved registers by its offset in bytes.
#[inline(always)]
pub fn word_at(words: &[u64; REGS_WORDS], offset: usize) -> u64 {
    // SAFETY: the loader checked that the offset lies within.
    unsafe { words.as_ptr().byte_add(offset).read() }
}

/// Argument `i` (0 to 5) of the call whose registers were saved.
macro_rules! argument {
    ($thread:expr, $i:literal) => {
        $crate::task::word_at(&$thread.regs, $crate::maps::offset!(regs_args[$i]))
    };
}
pub(crate) use argument;

/// All arguments of the call whose registers were saved.
#[inline(always)]
pub fn arguments(thread: &Thread) -> [u64; 6] {
    [argument!(thread, 0), argument!(thread, 1), argument!(thread, 2), argument!(thread, 3), argument!(thread, 4), argument!(thread, 5)]
}

/// `ax` while a system call is under way on x86-64 (arch/x86/entry/entry_64.S).
const ENOSYS: u64 = -38_i64 as u64;

/// Whether the saved registers are those of a call that had not returned: x86-64 has an error in place of the result until then, arm64 the
/// first argument.
#[inline(always)]
pub fn was_in_call(thread: &Thread) -> bool {
    let untouched = if offset!(regs_first) == 0 { ENOSYS } else { argument!(thread, 0) };
    word_at(&thread.regs, offset!(regs_result)) == untouched
}

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// `struct file` behind a descriptor of the current task; 0: none.
#[inline(always)]
fn file_of(fd: u64) -> u64 {
    // SAFETY: helper without preconditions.
    let task = unsafe { generated::bpf_get_current_task_btf() } as u64;
    let fdt: u64 = load(load(task, offset!(task_files)), offset!(files_fdt));
    let max_fds: u32 = field(fdt, offset!(fdt_max_fds));
    // Descriptors are `int`: the upper half of the register is not meant.
    let fd = fd as u32;
    if fd >= max_fds { 0 } else { field(field(fdt, offset!(fdt_fd)), fd as usize * 8) }
}

/// A number in what was read of a `struct sock`; the loader checked that it lies within.
#[inline(always)]
fn part<T: Copy>(head: &[u64; SOCK_HEAD / 8], offset: usize) -> T {
    // SAFETY: masked to the array; kernel structures are aligned.
    unsafe { head.as_ptr().byte_add(offset & (SOCK_HEAD - size_of::<T>())).cast::<T>().read() }
}

/// Whether a descriptor is that of a FIFO, or of a pipe.
#[inline(always)]
pub fn is_fifo(fd: u64) -> bool {
    const S_IFIFO: u16 = 0o010_000;
    let inode: u64 = field(file_of(fd), offset!(file_inode));
    field::<u16>(inode, offset!(inode_mode)) & S_IFMT == S_IFIFO
}

/// Fills `socket` with what stands behind a descriptor of the current task. Gives its `struct sock *`; 0: no socket.
#[inline(always)]
pub fn socket_of(fd: u64, socket: &mut Socket) -> u64 {
    let file = file_of(fd);
    let inode: u64 = field(file, offset!(file_inode));
    if field::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return 0;
    }
    let sk: u64 = field(field(file, offset!(file_private_data)), offset!(socket_sk));
    socket.inode = field(inode, offset!(inode_ino));
    // Nearly all that is wanted stands at its beginning, in `struct sock_common`.
    let head: [u64; SOCK_HEAD / 8] = field(sk, 0);
    socket.family = part(&head, offset!(sock_family));
    socket.kind = field(sk, offset!(sock_type));
    socket.protocol = field(sk, offset!(sock_protocol));
    if socket.family == AF_INET || socket.family == AF_INET6 {
        socket.local_port = part(&head, offset!(sock_num));
        socket.peer_port = u16::from_be(part(&head, offset!(sock_dport)));
    }
    if socket.family == AF_INET {
        let (local, peer) = (part(&head, offset!(sock_saddr)), part(&head, offset!(sock_daddr)));
        // SAFETY: four bytes fit in sixteen, and lie at a multiple of 4.
        unsafe {
            (&raw mut socket.local).cast::<u32>().write(local);
            (&raw mut socket.peer).cast::<u32>().write(peer);
        }
    } else if socket.family == AF_INET6 {
        socket.local = field(sk, offset!(sock_v6_saddr));
        socket.peer = field(sk, offset!(sock_v6_daddr));
    } else if socket.family == AF_UNIX {
        // Who is there is told by the inode, which `accept` gave the other end: /proc knows its path and its holder.
        let other: u64 = field(sk, offset!(unix_peer));
        let of_other: u64 = field(other, offset!(sock_socket));
        let inode: u64 = if of_other == 0 { 0 } else { field(of_other + offset!(socket_inode) as u64, offset!(inode_ino)) };
        // SAFETY: eight bytes fit in sixteen, and lie at a multiple of 8.
        unsafe { (&raw mut socket.peer).cast::<u64>().write(inode) };
    }
    sk
}

/// Components of a path that are told.
const DEPTH: u32 = 16;
/// Most bytes of one component, its NUL included.
const COMPONENT: u32 = 64;
/// Bytes for all of them.
pub const PATH: usize = 512;

/// Writes the path of the file behind a descriptor of the current task: its components from the last to the first, each with a NUL behind
/// it, across mounts, at most [`PATH`] bytes. Gives how many, and whether that is all; 0: no descriptor, or nothing that has a name (a pipe).
///
/// # Safety
/// `to` has room for `PATH + COMPONENT` bytes.
#[inline(always)]
pub unsafe fn path_of(fd: u64, to: *mut u8) -> (u32, bool) {
    let path = file_of(fd) + offset!(file_path) as u64;
    let vfsmount: u64 = field(path, offset!(path_mnt));
    let mut mount = vfsmount - offset!(mount_mnt) as u64;
    let mut dentry: u64 = field(path, offset!(path_dentry));
    let mut at = 0;
    let mut is_whole = false;
    let mut i = 0;
    while i < DEPTH {
        i += 1;
        let parent: u64 = field(dentry, offset!(dentry_parent));
        let root: u64 = field(mount + offset!(mount_mnt) as u64, offset!(vfsmount_root));
        if dentry == root || dentry == parent {
            let above: u64 = field(mount, offset!(mount_parent));
            if above == mount || above == 0 {
                is_whole = true;
                break;
            }
            dentry = field(mount, offset!(mount_mountpoint));
            mount = above;
            continue;
        }
        let name: u64 = field(dentry, offset!(dentry_name) + offset!(qstr_name));
        // Masked although it is less: the verifier then knows one range instead of another for each component.
        at = core::hint::black_box(at) & (PATH as u32 - 1);
        // SAFETY: a component behind `at` is within the room that was promised; the helper checks the source.
        let length = unsafe { generated::bpf_probe_read_kernel_str(to.add(at as usize).cast(), COMPONENT, name as *const _) };
        if length <= 1 || at + length as u32 >= PATH as u32 {
            break;
        }
        at += length as u32;
        dentry = parent;
    }
    (at & (PATH as u32 - 1), is_whole)
}
