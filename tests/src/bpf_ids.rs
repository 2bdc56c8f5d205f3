//! Ids of the BPF objects in the kernel, asked for one after another (bpf(2), `BPF_*_GET_NEXT_ID`).
//!
//! In comes a kind, out come ids. Invariant: no object is opened. Whoever opens and closes a map may change what becomes of it: closing a
//! prog array starts its emptying, and a second start while the first is pending costs the kernel (6.18) a reference (`prog_array_map_clear`).
//! The only other `unsafe` of the lab is in `netns`.
#![expect(unsafe_code, reason = "bpf(2) has no safe form, and aya opens what it lists; it is wrapped here and nowhere else")]

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program.
    Prog,
    /// A map.
    Map,
    /// What holds a program at its hook.
    Link,
    /// Types of programs and maps.
    Btf,
}

impl Kind {
    /// All of them; links first, since a link's fdinfo tells of its program too.
    pub const ALL: [Self; 4] = [Self::Link, Self::Prog, Self::Map, Self::Btf];

    /// What the kernel and bpftool call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prog => "prog",
            Self::Map => "map",
            Self::Link => "link",
            Self::Btf => "btf",
        }
    }

    /// `enum bpf_cmd` in include/uapi/linux/bpf.h.
    const fn command(self) -> libc::c_int {
        match self {
            Self::Prog => 11,
            Self::Map => 12,
            Self::Link => 31,
            Self::Btf => 23,
        }
    }
}

/// The part of `union bpf_attr` for these commands.
#[repr(C)]
struct Attr {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Ids of all objects of a kind.
pub fn all(kind: Kind) -> std::io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    while let Some(id) = next(kind, ids.last().copied().unwrap_or(0))? {
        ids.insert(id);
    }
    Ok(ids)
}

fn next(kind: Kind, start_id: u32) -> std::io::Result<Option<u32>> {
    let mut attr = Attr { start_id, next_id: 0, open_flags: 0 };
    // SAFETY: the kernel reads and writes this structure, whose size it is told, and keeps nothing of it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, kind.command(), &raw mut attr, size_of::<Attr>()) };
    if result == 0 {
        return Ok(Some(attr.next_id));
    }
    match Error::last_os_error() {
        error if error.kind() == ErrorKind::NotFound => Ok(None),
        error => Err(error),
    }
}
