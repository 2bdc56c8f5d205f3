//! THE table of hooked system calls: name, numbers, what is read from memory, when it is reported.
//!
//! Hooks, numbers, names in the log and the documents follow from it. To add a call is to add a line
//! to `with_syscalls` (and a `Capture`, if none fits). Numbers: `arch/x86/entry/syscalls/syscall_64.tbl` and
//! `include/uapi/asm-generic/unistd.h` (arm64; -1 where the call does not exist there).
//! Not here: how a capture is made (`mta-trace-ebpf/src/hook/`), how it is decoded (`mta-trace/src/decode/`).

/// What the kernel side copies besides number, arguments, result and the socket behind argument 0.
/// Every length is bounded by the record's size class; what did not fit is marked as cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Capture {
    /// Numbers only; of a descriptor at argument 0 that is no socket the path of its file.
    Nothing,
    /// The accepted socket, which stands behind the result (`accept(2)`).
    Accepted,
    /// The `sockaddr` at argument 1, length in argument 2 (`connect(2)`).
    Sockaddr,
    /// Bytes received into the buffer at argument 1: as many as the call returned.
    BufferIn,
    /// Like `BufferIn`, with flags at argument 3: of a client's bytes that stay (`MSG_PEEK`, recv(2)) nothing is copied.
    BufferFrom,
    /// Bytes sent from the buffer at argument 1: as many as the call returned.
    BufferOut,
    /// Like `BufferOut`; and of a socket without a peer the `sockaddr` at argument 4 (`sendto(2)`).
    BufferTo,
    /// Like `BufferIn` through `struct iovec[]` at argument 1, count in argument 2: first segments only.
    VectorIn,
    /// Like `BufferOut` through `struct iovec[]` at argument 1, count in argument 2: first segments only.
    VectorOut,
    /// Like `VectorIn` through `struct msghdr` at argument 1.
    MessageIn,
    /// Like `VectorOut` through `struct msghdr` at argument 1.
    MessageOut,
    /// Like `MessageIn`, the first of the `struct mmsghdr[]` at argument 1; the call returns how many messages.
    MessagesIn,
    /// Like `MessageOut`, the first of the `struct mmsghdr[]` at argument 1; the call returns how many messages.
    MessagesOut,
    /// NUL-terminated path at argument 0.
    Path0,
    /// NUL-terminated path at argument 1.
    Path1,
    /// `struct pollfd[]` at argument 0, count in argument 1; after the call, with `revents`.
    PollFds,
    /// Three `fd_set` at arguments 1, 2, 3 and the `struct timeval` at 4, read when the thread BLOCKS: the kernel overwrites them
    /// when it returns.
    Selects,
    /// The same with a `struct timespec`.
    Pselects,
    /// `struct timespec` at argument 0 (`nanosleep`).
    Timespec0,
    /// `struct timespec` at argument 2 (`clock_nanosleep`).
    Timespec2,
    /// `struct itimerval` at argument 1 (`setitimer`).
    Itimer,
    /// Like `Nothing`; the descriptor is another object from now on.
    Closed,
    /// Like `Nothing`; the result is a descriptor of the same object (`dup`).
    Duplicate,
    /// Like `Duplicate` where argument 1 is `F_DUPFD` or `F_DUPFD_CLOEXEC`, else like `Nothing` (`fcntl`).
    Control,
    /// Two descriptors at argument 0 (`pipe`).
    Pair,
}

/// When a completed call is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Emit {
    /// Always: it carries meaning even when it was fast.
    Always,
    /// Always when it succeeded, else only when it was slow.
    Success,
    /// When argument 0 was seen to be a socket's descriptor, else only when slow: what becomes of sockets matters, and paths of files
    /// are told by the calls that wait for them.
    Known,
    /// On a socket whose role is known (the client, DNS, ident, a milter) always, else only when slow.
    Socket,
    /// Only when it blocked for at least the configured threshold.
    Slow,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    /// As in the manual page, section 2.
    pub name: &'static str,
    /// Number on x86-64, or -1.
    pub x86_64: i32,
    /// Number on arm64, or -1.
    pub aarch64: i32,
    /// Whether argument 0 is a file descriptor.
    pub fd0: bool,
    /// What is copied.
    pub capture: Capture,
    /// When it is reported.
    pub emit: Emit,
}

impl Syscall {
    /// The number on the architecture that this crate was built for.
    #[must_use]
    pub const fn number(&self) -> i32 {
        if cfg!(target_arch = "aarch64") { self.aarch64 } else { self.x86_64 }
    }

    /// What the kernel side has to know of this line.
    #[must_use]
    pub const fn word(&self) -> Word {
        Word(WORD_HOOKED | (self.fd0 as u32) << 16 | (self.emit as u32) << 8 | self.capture as u32)
    }
}

macro_rules! syscalls {
    ($($variant:ident $name:literal $x86:literal $arm:literal $fd0:ident $capture:ident $emit:ident;)*) => {
        /// A hooked system call; its discriminant is its line in [`TABLE`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "the names are those of the manual pages")]
        pub enum Call { $($variant),* }

        /// All hooked system calls.
        pub const TABLE: &[Syscall] = &[$(Syscall {
            name: $name, x86_64: $x86, aarch64: $arm, fd0: syscalls!(@$fd0), capture: Capture::$capture, emit: Emit::$emit,
        }),*];

        impl Call {
            /// All calls, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
        }
    };
    (@fd) => { true };
    (@no) => { false };
}

/// THE table, for whoever makes something of each line: hands all lines to the macro that is named.
#[macro_export]
macro_rules! with_syscalls {
    ($use:ident) => {
        $use! {
        //  variant         name              x86 arm fd0 capture     emit
            Read            "read"              0  63  fd  BufferIn   Socket;
            Pread64         "pread64"          17  67  fd  Nothing    Slow;
            Readv           "readv"            19  65  fd  VectorIn   Socket;
            Write           "write"             1  64  fd  BufferOut  Socket;
            Pwrite64        "pwrite64"         18  68  fd  Nothing    Slow;
            Writev          "writev"           20  66  fd  VectorOut  Socket;
            Recvfrom        "recvfrom"         45 207  fd  BufferFrom Socket;
            Recvmsg         "recvmsg"          47 212  fd  MessageIn  Socket;
            Recvmmsg        "recvmmsg"        299 243  fd  MessagesIn  Socket;
            Sendto          "sendto"           44 206  fd  BufferTo   Socket;
            Sendmsg         "sendmsg"          46 211  fd  MessageOut Socket;
            Sendmmsg        "sendmmsg"        307 269  fd  MessagesOut Socket;
            Connect         "connect"          42 203  fd  Sockaddr   Always;
            Accept          "accept"           43 202  fd  Accepted   Always;
            Accept4         "accept4"         288 242  fd  Accepted   Always;
            Close           "close"             3  57  no  Closed     Known;
            CloseRange      "close_range"     436 436  no  Nothing    Success;
            Dup             "dup"              32  23  fd  Duplicate  Known;
            Dup2            "dup2"             33  -1  fd  Duplicate  Known;
            Dup3            "dup3"            292  24  fd  Duplicate  Known;
            Fcntl           "fcntl"            72  25  fd  Control    Known;
            Pipe            "pipe"             22  -1  no  Pair       Success;
            Pipe2           "pipe2"           293  59  no  Pair       Success;
            Socketpair      "socketpair"       53 199  no  Nothing    Slow;
            Poll            "poll"              7  -1  no  PollFds    Slow;
            Ppoll           "ppoll"           271  73  no  PollFds    Slow;
            Select          "select"           23  -1  no  Selects    Slow;
            Pselect6        "pselect6"        270  72  no  Pselects    Slow;
            EpollWait       "epoll_wait"      232  -1  fd  Nothing    Slow;
            EpollPwait      "epoll_pwait"     281  22  fd  Nothing    Slow;
            Fsync           "fsync"            74  82  fd  Nothing    Always;
            Fdatasync       "fdatasync"        75  83  fd  Nothing    Always;
            Sync            "sync"            162  81  no  Nothing    Always;
            Flock           "flock"            73  32  fd  Nothing    Slow;
            Open            "open"              2  -1  no  Path0      Slow;
            Openat          "openat"          257  56  no  Path1      Slow;
            Rename          "rename"           82  -1  no  Path0      Slow;
            Renameat        "renameat"        264  38  no  Path1      Slow;
            Renameat2       "renameat2"       316 276  no  Path1      Slow;
            Unlink          "unlink"           87  -1  no  Path0      Slow;
            Unlinkat        "unlinkat"        263  35  no  Path1      Slow;
            Chdir           "chdir"            80  49  no  Path0      Success;
            Nanosleep       "nanosleep"        35 101  no  Timespec0  Always;
            ClockNanosleep  "clock_nanosleep" 230 115  no  Timespec2  Always;
            Wait4           "wait4"            61 260  no  Nothing    Slow;
            Waitid          "waitid"          247  95  no  Nothing    Slow;
            Alarm           "alarm"            37  -1  no  Nothing    Always;
            Setitimer       "setitimer"        38 103  no  Itimer     Always;
            RestartSyscall  "restart_syscall" 219 128  no  Nothing    Slow;
        }
    };
}

with_syscalls!(syscalls);

/// Bit of a [`Word`] that says that the call is hooked.
const WORD_HOOKED: u32 = 1 << 31;

/// A line of the table in one word, as the kernel side wants it: the map `CALLS` holds it for each number, since one object serves all
/// architectures. 0: not hooked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(pub u32);

impl Word {
    /// Whether its completion is told; what is not is left to the scheduler's hooks.
    #[inline(always)]
    #[must_use]
    pub const fn is_hooked(self) -> bool {
        self.0 & WORD_HOOKED != 0
    }

    /// Whether argument 0 is a descriptor.
    #[inline(always)]
    #[must_use]
    pub const fn fd0(self) -> bool {
        self.0 >> 16 & 1 != 0
    }

    /// Whether this is what is read.
    #[inline(always)]
    #[must_use]
    pub const fn captures(self, capture: Capture) -> bool {
        self.0 & 0xff == capture as u32
    }

    /// Whether this is when it is reported.
    #[inline(always)]
    #[must_use]
    pub const fn emits(self, emit: Emit) -> bool {
        self.0 >> 8 & 0xff == emit as u32
    }
}

/// How many system call numbers the kernel side distinguishes.
pub const NUMBERS: u32 = 512;

impl Call {
    /// This call's line of the table.
    #[must_use]
    pub const fn row(self) -> &'static Syscall {
        &TABLE[self as usize]
    }

    /// Name as in the manual page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The call with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|call| call.name() == name)
    }

    /// The call with this number on the architecture that this crate was built for.
    #[must_use]
    pub fn by_number(number: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|call| number >= 0 && i64::from(call.row().number()) == number)
    }
}
