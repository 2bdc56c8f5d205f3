//! Names of numbers, as the manual pages and kernel headers give them (asm-generic values, which x86-64 and arm64 share).
//! Bits without a name are shown as one hexadecimal number.

/// A table of bits and their names.
type Bits = &'static [(u64, &'static str)];

/// `send(2)`, `recv(2)` flags.
pub const MSG: Bits = &[
    (0x1, "MSG_OOB"),
    (0x2, "MSG_PEEK"),
    (0x4, "MSG_DONTROUTE"),
    (0x20, "MSG_TRUNC"),
    (0x40, "MSG_DONTWAIT"),
    (0x80, "MSG_EOR"),
    (0x100, "MSG_WAITALL"),
    (0x4000, "MSG_NOSIGNAL"),
    (0x8000, "MSG_MORE"),
    (0x2000_0000, "MSG_FASTOPEN"),
    (0x4000_0000, "MSG_CMSG_CLOEXEC"),
];

/// `accept4(2)` flags.
pub const SOCK: Bits = &[(0x800, "SOCK_NONBLOCK"), (0x8_0000, "SOCK_CLOEXEC")];

/// `open(2)` flags (x86-64); `O_RDONLY` is no bit.
pub const OPEN: Bits = &[
    (0x1, "O_WRONLY"),
    (0x2, "O_RDWR"),
    (0x40, "O_CREAT"),
    (0x80, "O_EXCL"),
    (0x100, "O_NOCTTY"),
    (0x200, "O_TRUNC"),
    (0x400, "O_APPEND"),
    (0x800, "O_NONBLOCK"),
    (0x8_0000, "O_CLOEXEC"),
];

/// `close_range(2)` flags.
pub const CLOSE_RANGE: Bits = &[(0x2, "CLOSE_RANGE_UNSHARE"), (0x4, "CLOSE_RANGE_CLOEXEC")];

/// `poll(2)` events.
pub const POLL: Bits = &[
    (0x1, "POLLIN"),
    (0x2, "POLLPRI"),
    (0x4, "POLLOUT"),
    (0x8, "POLLERR"),
    (0x10, "POLLHUP"),
    (0x20, "POLLNVAL"),
    (0x40, "POLLRDNORM"),
    (0x80, "POLLRDBAND"),
    (0x100, "POLLWRNORM"),
    (0x200, "POLLWRBAND"),
    (0x2000, "POLLRDHUP"),
];

/// `wait4(2)` options.
pub const WAIT: Bits = &[(0x1, "WNOHANG"), (0x2, "WUNTRACED"), (0x8, "WCONTINUED")];

/// Splits a number into names.
pub fn bits(value: u64, table: Bits) -> Vec<String> {
    let mut rest = value;
    let mut names = Vec::new();
    for (bit, name) in table {
        if value & bit != 0 {
            names.push((*name).to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names
}

/// `fcntl(2)` commands.
pub fn fcntl(command: u64) -> String {
    match command {
        0 => "F_DUPFD",
        1 => "F_GETFD",
        2 => "F_SETFD",
        3 => "F_GETFL",
        4 => "F_SETFL",
        5 => "F_GETLK",
        6 => "F_SETLK",
        7 => "F_SETLKW",
        36 => "F_OFD_GETLK",
        37 => "F_OFD_SETLK",
        38 => "F_OFD_SETLKW",
        1030 => "F_DUPFD_CLOEXEC",
        other => return format!("{other:#x}"),
    }
    .to_owned()
}

/// `flock(2)` operations.
pub fn flock(operation: u64) -> String {
    let name = match operation & !4 {
        1 => "LOCK_SH",
        2 => "LOCK_EX",
        8 => "LOCK_UN",
        other => return format!("{other:#x}"),
    };
    if operation & 4 == 0 { name.to_owned() } else { format!("{name}|LOCK_NB") }
}
