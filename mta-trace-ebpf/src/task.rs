//! What can be read of the current task: thread ids, the registers of its system call, and the socket behind a
//! descriptor (task -> files -> file -> socket -> sock), which needs no table and so is right also after
//! `dup`, `fork`, SCM_RIGHTS and for connections that are older than the trace.

use crate::maps::offset;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated};
use mta_trace_common::{
    config::{REGS_BLOCK, REGS_WORDS, Thread},
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
pub fn field<T: Copy + Default>(base: u64, offset: usize) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((base as usize + offset) as *const T) }.unwrap_or_default()
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
    i64::from(field::<i64>(regs, offset!(regs_nr)) as i32)
}

/// Saves the registers that hold the current system call's arguments.
#[inline(always)]
pub fn save_registers(thread: &mut Thread) {
    registers_of(registers(), &mut thread.regs);
}

/// Reads the registers that hold a system call's arguments.
#[inline(always)]
pub fn registers_of(regs: u64, words: &mut [u64; REGS_WORDS]) {
    let at = regs as usize + offset!(regs_block);
    // SAFETY: the destination is longer than said; the helper checks the source.
    unsafe { generated::bpf_probe_read_kernel(words.as_mut_ptr().cast(), (REGS_BLOCK * 8) as u32, at as *const _) };
    if offset!(regs_first) != 0 {
        words[REGS_BLOCK] = field(regs, offset!(regs_first));
    }
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

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Fills `socket` with what stands behind a descriptor of the current task. False: no socket.
#[inline(always)]
pub fn socket_of(fd: u64, socket: &mut Socket) -> bool {
    // SAFETY: helper without preconditions.
    let task = unsafe { generated::bpf_get_current_task() };
    let fdt: u64 = field(field(task, offset!(task_files)), offset!(files_fdt));
    let max_fds: u32 = field(fdt, offset!(fdt_max_fds));
    // Descriptors are `int`: the upper half of the register is not meant.
    let fd = fd as u32;
    if fd >= max_fds {
        return false;
    }
    let file: u64 = field(field(fdt, offset!(fdt_fd)), fd as usize * 8);
    let inode: u64 = field(file, offset!(file_inode));
    if field::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK {
        return false;
    }
    let sk: u64 = field(field(file, offset!(file_private_data)), offset!(socket_sk));
    socket.inode = field(inode, offset!(inode_ino));
    socket.family = field(sk, offset!(sock_family));
    socket.kind = field(sk, offset!(sock_type));
    socket.protocol = field(sk, offset!(sock_protocol));
    if socket.family == AF_INET || socket.family == AF_INET6 {
        socket.local_port = field(sk, offset!(sock_num));
        socket.peer_port = u16::from_be(field(sk, offset!(sock_dport)));
    }
    if socket.family == AF_INET {
        let local: [u8; 4] = field(sk, offset!(sock_saddr));
        let peer: [u8; 4] = field(sk, offset!(sock_daddr));
        // SAFETY: four bytes fit in sixteen.
        unsafe {
            socket.local.as_mut_ptr().cast::<[u8; 4]>().write(local);
            socket.peer.as_mut_ptr().cast::<[u8; 4]>().write(peer);
        }
    } else if socket.family == AF_INET6 {
        socket.local = field(sk, offset!(sock_v6_saddr));
        socket.peer = field(sk, offset!(sock_v6_daddr));
    }
    true
}
