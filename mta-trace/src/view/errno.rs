//! Names of error numbers, as `strace` writes them.
//!
//! In: a positive number. Out: its name of `asm-generic/errno-base.h` and `errno.h` (x86-64 and arm64 share them), or the
//! kernel's own restart codes of `include/linux/errno.h`, which user space never sees.

/// `EAGAIN (Resource temporarily unavailable)`; without a name the number.
pub fn text(errno: i32) -> String {
    if let Some((_, name, meaning)) = RESTART.iter().find(|row| row.0 == errno) {
        return format!("{name} ({meaning})");
    }
    let message = std::io::Error::from_raw_os_error(errno).to_string();
    let meaning = message.split(" (os error").next().unwrap_or_default();
    match NAMES.iter().find(|row| row.0 == errno) {
        Some((_, name)) => format!("{name} ({meaning})"),
        None => format!("errno {errno} ({meaning})"),
    }
}

/// Whether the call was interrupted in a way that only the kernel sees.
pub fn is_restart(errno: i32) -> bool {
    RESTART.iter().any(|row| row.0 == errno)
}

const RESTART: &[(i32, &str, &str)] = &[
    (512, "ERESTARTSYS", "To be restarted if SA_RESTART is set"),
    (513, "ERESTARTNOINTR", "To be restarted"),
    (514, "ERESTARTNOHAND", "To be restarted if no handler"),
    (516, "ERESTART_RESTARTBLOCK", "Interrupted by signal"),
];

const NAMES: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (10, "ECHILD"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (15, "ENOTBLK"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (18, "EXDEV"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (26, "ETXTBSY"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (29, "ESPIPE"),
    (30, "EROFS"),
    (31, "EMLINK"),
    (32, "EPIPE"),
    (33, "EDOM"),
    (34, "ERANGE"),
    (35, "EDEADLK"),
    (36, "ENAMETOOLONG"),
    (37, "ENOLCK"),
    (38, "ENOSYS"),
    (39, "ENOTEMPTY"),
    (40, "ELOOP"),
    (61, "ENODATA"),
    (62, "ETIME"),
    (71, "EPROTO"),
    (74, "EBADMSG"),
    (75, "EOVERFLOW"),
    (84, "EILSEQ"),
    (88, "ENOTSOCK"),
    (89, "EDESTADDRREQ"),
    (90, "EMSGSIZE"),
    (91, "EPROTOTYPE"),
    (92, "ENOPROTOOPT"),
    (93, "EPROTONOSUPPORT"),
    (94, "ESOCKTNOSUPPORT"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (100, "ENETDOWN"),
    (101, "ENETUNREACH"),
    (102, "ENETRESET"),
    (103, "ECONNABORTED"),
    (104, "ECONNRESET"),
    (105, "ENOBUFS"),
    (106, "EISCONN"),
    (107, "ENOTCONN"),
    (108, "ESHUTDOWN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (112, "EHOSTDOWN"),
    (113, "EHOSTUNREACH"),
    (114, "EALREADY"),
    (115, "EINPROGRESS"),
    (116, "ESTALE"),
    (122, "EDQUOT"),
    (125, "ECANCELED"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_strace_writes_them() {
        assert_eq!(text(11), "EAGAIN (Resource temporarily unavailable)");
        assert_eq!(text(512), "ERESTARTSYS (To be restarted if SA_RESTART is set)");
        assert!(text(4095).starts_with("errno 4095"));
        assert!(is_restart(516) && !is_restart(4));
    }
}
