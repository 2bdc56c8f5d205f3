//! Calls without a hook in which a thread can be seen to block: name, and whether a file system is what blocks it.
//!
//! Numbers from `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.

/// x86-64 (-1: does not exist there), arm64, name, file system.
const OTHER: &[(i64, i64, &str, bool)] = &[
    (4, -1, "stat", true),
    (5, 80, "fstat", true),
    (6, -1, "lstat", true),
    (8, 62, "lseek", true),
    (9, 222, "mmap", true),
    (11, 215, "munmap", true),
    (21, -1, "access", true),
    (26, 227, "msync", true),
    (40, 71, "sendfile", false),
    (41, 198, "socket", false),
    (48, 210, "shutdown", false),
    (56, 220, "clone", false),
    (59, 221, "execve", true),
    (61, 260, "wait4", false),
    (76, 45, "truncate", true),
    (77, 46, "ftruncate", true),
    (83, -1, "mkdir", true),
    (86, -1, "link", true),
    (88, -1, "symlink", true),
    (89, -1, "readlink", true),
    (90, -1, "chmod", true),
    (91, 52, "fchmod", true),
    (92, -1, "chown", true),
    (93, 55, "fchown", true),
    (130, 133, "rt_sigsuspend", false),
    (137, 43, "statfs", true),
    (138, 44, "fstatfs", true),
    (162, 81, "sync", true),
    (202, 98, "futex", false),
    (217, 61, "getdents64", true),
    (257, 56, "openat", true),
    (262, 79, "newfstatat", true),
    (265, 37, "linkat", true),
    (267, 78, "readlinkat", true),
    (269, 48, "faccessat", true),
    (277, 84, "sync_file_range", true),
    (332, 291, "statx", true),
    (34, -1, "pause", false),
];

/// Name of a call by its number, and whether it is one of the file system.
pub fn other_call(arch: &str, number: i64) -> Option<(&'static str, bool)> {
    let is_arm = arch == "aarch64";
    OTHER
        .iter()
        .find(|&&(x86_64, aarch64, _, _)| number >= 0 && number == if is_arm { aarch64 } else { x86_64 })
        .map(|&(_, _, name, is_file_system)| (name, is_file_system))
}
