//! What user space tells the kernel side: offsets of kernel structures and settings (globals, fixed when
//! the object is loaded), filters and sessions (maps).
//!
//! Invariant: nothing here changes a word of the bitmap; that is asked for through [`Request`].

/// Offsets in bytes of the fields that the kernel side reads, resolved from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "each field is named after the structure and the field it stands for")]
pub struct Offsets {
    pub task_pid: u32,
    pub task_tgid: u32,
    pub task_state: u32,
    pub task_exit_code: u32,
    pub task_comm: u32,
    pub task_files: u32,
    pub files_fdt: u32,
    pub fdt_max_fds: u32,
    pub fdt_fd: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub file_path: u32,
    pub path_mnt: u32,
    pub path_dentry: u32,
    pub dentry_name: u32,
    pub dentry_parent: u32,
    pub qstr_name: u32,
    pub mount_mnt: u32,
    pub mount_parent: u32,
    pub mount_mountpoint: u32,
    pub vfsmount_root: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub socket_sk: u32,
    pub sock_family: u32,
    pub sock_num: u32,
    pub sock_dport: u32,
    pub sock_saddr: u32,
    pub sock_daddr: u32,
    pub sock_v6_saddr: u32,
    pub sock_v6_daddr: u32,
    pub sock_type: u32,
    pub sock_protocol: u32,
    pub sock_socket: u32,
    pub unix_peer: u32,
    /// From a `struct socket` to its inode, which lies behind it (`struct socket_alloc`).
    pub socket_inode: u32,
    /// Of the system call's number (`orig_ax`, `syscallno`).
    pub regs_nr: u32,
    /// Where the block of [`REGS_BLOCK`] words begins that holds all arguments.
    pub regs_block: u32,
    /// Offsets of the arguments within `Thread::regs`.
    pub regs_args: [u32; 6],
    /// Where argument 0 lies if it is not in that block (arm64: `orig_x0`), else 0; it is kept behind the block.
    pub regs_first: u32,
    /// Place of the result in that block, in bytes.
    pub regs_result: u32,
}

/// Bytes that are read of `struct sock` at once: family, ports and IPv4 addresses lie there. A power of two.
pub const SOCK_HEAD: usize = 32;

/// Words that are read of `struct pt_regs` at once: from `r10` to `orig_ax` on x86-64, from `x0` on arm64.
pub const REGS_BLOCK: usize = 9;
/// The same, and argument 0 by itself.
pub const REGS_WORDS: usize = REGS_BLOCK + 1;

impl Offsets {
    /// All zero: as the object has them before it is loaded.
    pub const ZERO: Self = Self {
        task_pid: 0,
        task_tgid: 0,
        task_state: 0,
        task_exit_code: 0,
        task_comm: 0,
        task_files: 0,
        files_fdt: 0,
        fdt_max_fds: 0,
        fdt_fd: 0,
        file_inode: 0,
        file_private_data: 0,
        file_path: 0,
        path_mnt: 0,
        path_dentry: 0,
        dentry_name: 0,
        dentry_parent: 0,
        qstr_name: 0,
        mount_mnt: 0,
        mount_parent: 0,
        mount_mountpoint: 0,
        vfsmount_root: 0,
        inode_mode: 0,
        inode_ino: 0,
        socket_sk: 0,
        sock_family: 0,
        sock_num: 0,
        sock_dport: 0,
        sock_saddr: 0,
        sock_daddr: 0,
        sock_v6_saddr: 0,
        sock_v6_daddr: 0,
        sock_type: 0,
        sock_protocol: 0,
        sock_socket: 0,
        unix_peer: 0,
        socket_inode: 0,
        regs_nr: 0,
        regs_block: 0,
        regs_args: [0; 6],
        regs_first: 0,
        regs_result: 0,
    };
}

/// Settings, fixed when the object is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// Calls that blocked for less are not reported (unless they carry meaning), ns.
    pub min_wait_ns: u64,
    /// How many entries of the filter count; 0: every peer matches.
    pub filters: u32,
    /// 1: the allow-list for SMTP bytes is off. For the positive control of the secrets tests only: the
    /// loader sets it in a build with the feature `unsafe-unfiltered`, and in no other.
    pub unfiltered: u32,
    /// Name of the server's program that is an event loop among servers (`comm`, 16 bytes in their order); zero: there is none.
    pub loop_comm: [u64; 2],
}

impl Settings {
    /// All zero: as the object has them before it is loaded.
    pub const ZERO: Self = Self { min_wait_ns: 0, filters: 0, unfiltered: 0, loop_comm: [0; 2] };
}

/// How many address filters there can be.
pub const MAX_FILTERS: u32 = 16;

/// An address filter: a peer matches where `address` and the peer's address agree under `mask`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// IPv6 address, or IPv4-mapped (`::ffff:a.b.c.d`), network order, in two big-endian halves.
    pub address: [u64; 2],
    /// Mask in the same form.
    pub mask: [u64; 2],
}

/// What a traced thread is; decides what of it is reported.
pub const ROLE_DAEMON: u8 = 1;
/// Serves a session: everything in the table is reported.
pub const ROLE_SESSION: u8 = 2;
/// A descendant of a session's process: only fork, exec and exit are reported.
pub const ROLE_OTHER: u8 = 3;
/// Accepts by itself and serves in the same process, one session after another (a pre-forked server such as Postfix's `smtpd`), or makes such
/// processes: reported from an accept that matches, or from the message that brings it a client, until that descriptor is closed. Its children are the same.
pub const ROLE_SERVER: u8 = 4;
/// Somebody for whom a session waits: everything in the table is reported, until it is released. No connection that it accepts is a session.
pub const ROLE_HELPER: u8 = 5;
/// Serves many sessions at a time, all in one process (an event loop, such as OpenSMTPD's), or is one of the processes that those ask: while a session
/// is open that is wanted, everything in the table is reported. Which session a call belongs to is told by its socket, never by its thread.
pub const ROLE_LOOP: u8 = 6;

/// `Thread::accepted`: somebody else than whose sessions are wanted.
pub const ACCEPTED_OTHER: u8 = 1;
/// `Thread::accepted`: a peer whose sessions are wanted.
pub const ACCEPTED_MATCHED: u8 = 2;

/// State of a thread in `Thread::state`.
pub const STATE_CPU: u8 = 1;
/// Runnable, waiting for a CPU.
pub const STATE_RUNNABLE: u8 = 2;
/// Blocked.
pub const STATE_BLOCKED: u8 = 3;

/// What a completed call came to. It stands in the thread's map value and not on the stack of the program: the verifier then knows nothing of
/// its values, and does not walk through each handler once for every combination of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Done {
    /// System call number.
    pub nr: i64,
    /// Result.
    pub ret: i64,
    /// When it first blocked, 0 if never.
    pub since: u64,
    /// Time blocked in it, ns.
    pub blocked_in: u64,
}

/// Accounting and call state of one traced thread: value of the map `THREADS`, key tid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Thread {
    /// When `state` began.
    pub last: u64,
    /// Cumulative ns on a CPU, up to `last`.
    pub cpu: u64,
    /// Cumulative ns blocked, up to `last`.
    pub blocked: u64,
    /// Cumulative ns runnable, up to `last`.
    pub runqueue: u64,
    /// The call in which the thread blocked last, -1: none.
    pub nr: i64,
    /// When it first blocked in that call, 0: it has not.
    pub since: u64,
    /// How long it blocked in that call so far.
    pub blocked_in: u64,
    /// `cpu` at `since`.
    pub cpu_since: u64,
    /// `runqueue` at `since`.
    pub runqueue_since: u64,
    /// Registers of the call in which it blocked, or of the one being reported: the block that holds the arguments, and argument 0.
    pub regs: [u64; REGS_WORDS],
    /// The call being reported.
    pub done: Done,
    /// Socket of the call being reported. Scratch of the thread's own: a program may be preempted, its thread not re-entered.
    pub socket: crate::event::Socket,
    /// What `select` was asked, saved when it blocked.
    pub selects: crate::event::Selects,
    /// Which of the first 64 descriptors were seen to be sockets.
    pub sockets: u64,
    /// Inode of the session's socket that it serves (daemon: that it accepted last).
    pub session: u64,
    /// Thread group.
    pub tgid: u32,
    /// `ROLE_*`.
    pub role: u8,
    /// `STATE_*`.
    pub state: u8,
    /// Daemon, until its next fork, and daemon and server, until they close `client_fd`: 0 nothing accepted, else `ACCEPTED_*`.
    pub accepted: u8,
    /// 1: `selects` was saved in the call that began at `since`.
    pub selects_valid: u8,
    /// Descriptor on which alone the thread waited last (`select`, `poll`), -1: none.
    pub waited_fd: i32,
    /// 1: nothing was seen of it since it was taken into the trace.
    pub is_new: u32,
    /// Server: the client's descriptor.
    pub client_fd: i32,
    /// Helper: the role that it had before, and has again when it is released; 0: it was not traced.
    pub earlier: u8,
    /// Loop: 1: its unix sockets carry imsg messages (OpenBSD's libutil), of which the heads are reported.
    pub has_messages: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

impl Thread {
    /// Remembers that a descriptor is a socket's, or is not.
    #[inline(always)]
    pub const fn know_socket(&mut self, fd: u32, is_socket: bool) {
        if fd < 64 {
            let bit = 1 << fd;
            self.sockets = if is_socket { self.sockets | bit } else { self.sockets & !bit };
        }
    }

    /// Whether a descriptor was seen to be a socket's; those from 64 on may be.
    #[inline(always)]
    #[must_use]
    pub const fn knows_socket(&self, fd: u32) -> bool {
        fd >= 64 || self.sockets >> fd & 1 == 1
    }

    /// Whether it serves a session that is wanted.
    #[inline(always)]
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        self.role == ROLE_SESSION || self.role == ROLE_SERVER && self.accepted == ACCEPTED_MATCHED
    }

    /// A thread that is seen from now (`t`) on.
    #[must_use]
    pub const fn new(t: u64, tgid: u32, role: u8, state: u8, session: u64) -> Self {
        Self {
            last: t,
            cpu: 0,
            blocked: 0,
            runqueue: 0,
            nr: -1,
            since: 0,
            blocked_in: 0,
            cpu_since: 0,
            runqueue_since: 0,
            regs: [0; REGS_WORDS],
            done: Done { nr: -1, ret: 0, since: 0, blocked_in: 0 },
            socket: crate::event::Socket::ZERO,
            selects: crate::event::Selects { sets: [[0; 2]; 3], timeout: -1 },
            sockets: 0,
            session,
            tgid,
            role,
            state,
            accepted: 0,
            selects_valid: 0,
            waited_fd: -1,
            is_new: 1,
            client_fd: -1,
            earlier: 0,
            has_messages: 0,
            reserved: [0; 2],
        }
    }
}

/// Requests to the program `request`, run by `BPF_PROG_TEST_RUN`: argument 0 the operation, then its own.
pub struct Request;

impl Request {
    /// Trace a thread that exists, taken to be running: tid, tgid, role, session (inode, 0: none), of a server that serves it the client's descriptor,
    /// of a loop `has_messages`.
    pub const TRACE: u64 = 1;
    /// Stop tracing a thread: tid.
    pub const FORGET: u64 = 2;
    /// A thread that was just taken into the trace is blocked: tid, nr, six arguments. Ignored where it was seen to do something since.
    pub const BLOCKED: u64 = 3;
    /// Take a thread for whose process a session waits into the trace as a helper, whatever of it was reported before: tid, tgid. One that serves
    /// a session, or accepts connections and forks for each, stays what it is.
    pub const HELP: u64 = 4;
    /// A helper is one no longer: tid.
    pub const RELEASE: u64 = 5;
}

/// What is known of a TCP connection of the server to a helper: value of the map `PEERS`, key socket inode.
pub const PEER_MILTER: u8 = 1;
/// It asked a policy service (`SMTPD_POLICY_README` of Postfix).
pub const PEER_POLICY: u8 = 2;

const _: () = {
    assert!(size_of::<Offsets>() == 46 * 4);
    assert!(size_of::<Settings>() == 32);
    assert!(size_of::<Filter>() == 32);
    assert!(size_of::<Thread>() == 9 * 8 + 4 * 8 + REGS_WORDS * 8 + 56 + 56 + 5 * 8);
};
