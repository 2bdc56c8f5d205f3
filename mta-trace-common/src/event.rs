//! The records of the ring buffer, as the kernel side writes them and user space reads them.
//!
//! Each begins with [`Head`]; `kind` says which struct follows. A [`Sys`] is followed by a data area of
//! one of [`CLASSES`] bytes, of which `data_len` are meaningful.
//! Invariant: integers and byte arrays only, no padding, so that every bit pattern is a valid value.

/// `Head::kind`: a completed system call, [`Sys`].
pub const KIND_SYS: u16 = 1;
/// `Head::kind`: time blocked outside a hooked call, [`Block`].
pub const KIND_BLOCK: u16 = 2;
/// `Head::kind`: a traced process forked, [`Fork`].
pub const KIND_FORK: u16 = 3;
/// `Head::kind`: a traced process executed another program, [`Exec`].
pub const KIND_EXEC: u16 = 4;
/// `Head::kind`: a traced process ended, [`Exit`].
pub const KIND_EXIT: u16 = 5;

/// `Head::kind`: an accepted connection had been established before, [`Backlog`].
pub const KIND_BACKLOG: u16 = 6;

/// Sizes in bytes of the data area behind a [`Sys`].
pub const CLASSES: [usize; 4] = [0, 128, 1024, 4096];

/// Head of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Head {
    /// One of `KIND_*`.
    pub kind: u16,
    /// `FLAG_*`.
    pub flags: u16,
    /// Meaningful bytes in the data area.
    pub data_len: u32,
    /// `CLOCK_MONOTONIC` in ns (`bpf_ktime_get_ns`).
    pub t: u64,
    /// Thread group id: "the PID", in the host's numbering.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Cumulative ns of this thread on a CPU, at `t`.
    pub cpu: u64,
    /// Cumulative ns of this thread blocked, at `t`.
    pub blocked: u64,
    /// Cumulative ns of this thread runnable, waiting for a CPU, at `t`.
    pub runqueue: u64,
}

/// Less was copied than the call transferred.
pub const FLAG_CUT: u16 = 1;
/// Reading memory of the process failed (`EFAULT`: page not resident); the data area is short or empty.
pub const FLAG_FAULT: u16 = 2;
/// `accept`: the peer matched the filter.
pub const FLAG_MATCHED: u16 = 4;
/// The descriptor is the client's socket of a session; `smtp_mode` says how it was read.
pub const FLAG_CLIENT: u16 = 8;
/// A read in DATA completed the final dot (RFC 5321, 4.5.2).
pub const FLAG_DOT: u16 = 16;
/// `Block`, `Exit`: the call had not returned.
pub const FLAG_UNFINISHED: u16 = 32;
/// The bytes are the head of a milter packet: length and command, of macros also the command that they are for.
pub const FLAG_MILTER: u16 = 64;
/// The bytes are the path of the file behind argument 0: its components from the last to the first, each with a NUL behind it.
pub const FLAG_PATH: u16 = 256;
/// The connection was recognised as one to a policy service; nothing is copied.
pub const FLAG_POLICY: u16 = 512;
/// The bytes are the heads of the imsg messages that were transferred, [`MESSAGE_HEAD`] bytes each; with [`FLAG_CUT`] there were more, or where the
/// first begins is not known.
pub const FLAG_MESSAGES: u16 = 1024;
/// Head of an imsg message (`struct imsg_hdr`, imsg.h: type, length, flags, peerid, pid) and the first eight bytes behind it, which are an id or no secret.
pub const MESSAGE_HEAD: usize = 24;
/// Most of them that are told of one call.
pub const MESSAGES: usize = 32;
/// The message carries a descriptor of a session's client to another process (`SCM_RIGHTS`): the bytes are its number, an `int`; the socket is what is
/// behind that one.
pub const FLAG_PASSED: u16 = 2048;
/// With [`FLAG_PATH`]: what lies there is a FIFO (fifo(7)), which is no file on a disk.
pub const FLAG_FIFO: u16 = 4096;
/// `KIND_FORK`: the child is traced (else only known).
pub const FLAG_TRACED: u16 = 128;

/// A socket, as `struct sock` has it. `inode` 0: not a socket, or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Socket {
    /// Inode number in sockfs: the same in every process that holds the socket.
    pub inode: u64,
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_*`.
    pub kind: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// Local port, host order.
    pub local_port: u16,
    /// Peer's port, host order.
    pub peer_port: u16,
    /// Zero.
    pub reserved: [u16; 3],
    /// Local address; an IPv4 address is in the first four bytes.
    pub local: [u8; 16],
    /// Peer's address; an IPv4 address is in the first four bytes; of a connected unix socket the inode of the socket at the other end, in the
    /// first eight, in the machine's order.
    pub peer: [u8; 16],
}

impl Socket {
    /// No socket.
    pub const ZERO: Self =
        Self { inode: 0, family: 0, kind: 0, protocol: 0, local_port: 0, peer_port: 0, reserved: [0; 3], local: [0; 16], peer: [0; 16] };
}

/// A completed system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Sys {
    /// Head, `kind` = [`KIND_SYS`].
    pub head: Head,
    /// System call number.
    pub nr: i32,
    /// `smtp::MODE_*` in force when the call returned, before its bytes changed it; 0 elsewhere.
    pub smtp_mode: u8,
    /// How many bytes of `carry` count.
    pub carry_len: u8,
    /// Zero.
    pub reserved: u16,
    /// What the call returned (-512 to -516: interrupted).
    pub ret: i64,
    /// When it first blocked, 0 if never.
    pub since: u64,
    /// Time blocked in it, ns.
    pub blocked_in: u64,
    /// `Head::cpu` as it was at `since`.
    pub cpu_since: u64,
    /// `Head::runqueue` as it was at `since`.
    pub runqueue_since: u64,
    /// Arguments.
    pub args: [u64; 6],
    /// The socket behind argument 0 (for `accept` the accepted one).
    pub socket: Socket,
    /// Beginning of an SMTP line that earlier reads held back until its verb was known.
    pub carry: [u8; smtp_carry::LEN],
}

/// Length of `Sys::carry`.
pub mod smtp_carry {
    /// Bytes: the longest verb (`STARTTLS`, `XFORWARD`) and the mechanism name do not need more.
    pub const LEN: usize = 16;
}

/// Data area of `Capture::Selects`: descriptor sets and time-out as they were at entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Selects {
    /// First 128 descriptors of the read, write and except sets.
    pub sets: [[u64; 2]; 3],
    /// Time-out in ns; -1: none.
    pub timeout: i64,
}

/// A thread was blocked outside a hooked call, or in a call that has not returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Block {
    /// Head, `kind` = [`KIND_BLOCK`].
    pub head: Head,
    /// System call number; -1: none (a page fault).
    pub nr: i64,
    /// When it began.
    pub since: u64,
    /// `Head::cpu` as it was at `since`.
    pub cpu_since: u64,
    /// `Head::runqueue` as it was at `since`.
    pub runqueue_since: u64,
    /// Arguments of the call.
    pub args: [u64; 6],
}

/// A traced process forked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Fork {
    /// Head of the parent, `kind` = [`KIND_FORK`].
    pub head: Head,
    /// Child's tgid (equal to the parent's: a thread).
    pub child: u32,
    /// Child's tid.
    pub child_tid: u32,
    /// Name of the task.
    pub comm: [u8; 16],
}

/// A traced process executed another program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Exec {
    /// Head, `kind` = [`KIND_EXEC`].
    pub head: Head,
    /// New name of the task: 16 bytes in their order.
    pub comm: [u64; 2],
}

/// A traced thread ended (`head.tid == head.tgid`: the process, as far as we care).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Exit {
    /// Head, `kind` = [`KIND_EXIT`].
    pub head: Head,
    /// `task_struct.exit_code`: status in bits 8 to 15, signal in bits 0 to 6.
    pub code: u32,
    /// Zero.
    pub reserved: u32,
    /// The call in which it was killed, else -1.
    pub nr: i64,
    /// When that call first blocked.
    pub since: u64,
}

/// A connection that is being accepted had been established since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable))]
#[repr(C)]
pub struct Backlog {
    /// Head of the accepting thread, `kind` = [`KIND_BACKLOG`].
    pub head: Head,
    /// When the connection's handshake was over (`TCP_SYN_RECV` to `TCP_ESTABLISHED`).
    pub since: u64,
    /// The accepted socket.
    pub socket: Socket,
}

/// Why something was not reported; index into the per-CPU map `LOSS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Loss {
    /// The ring buffer was full.
    Ring = 0,
    /// Less data was copied than there was.
    Truncated = 1,
    /// Memory of the process could not be read.
    Fault = 2,
    /// A table was full.
    Tables = 3,
    /// A thread was found running although the switch to it was not seen: what it waited for ends where it was found.
    Switches = 4,
    /// A hooked call that blocked has returned unseen: the kernel skips `fexit` programs for calls that are under way while another program
    /// comes to or goes from the same function (kernel/bpf/trampoline.c, `bpf_tramp_image_put`).
    Exits = 5,
}
/// Number of `Loss` causes.
pub const LOSSES: u32 = 6;

const _: () = {
    assert!(size_of::<Head>() == 48);
    assert!(size_of::<Socket>() == 56);
    assert!(size_of::<Sys>() == 216);
    assert!(size_of::<Selects>() == 56);
    assert!(size_of::<Block>() == 128 && size_of::<Backlog>() == 112);
    assert!(size_of::<Fork>() == 72 && size_of::<Exec>() == 64 && size_of::<Exit>() == 72);
};
