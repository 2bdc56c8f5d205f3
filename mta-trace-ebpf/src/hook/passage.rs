//! A client's descriptor that one process of a server passes to another over a unix socket (`SCM_RIGHTS`, unix(7)): the session goes on there.
//!
//! Postfix's `postscreen` does that: it accepts, and passes who is to be served to an `smtpd`, which is a server (`ROLE_SERVER`) that has not accepted
//! anything. Of the control message the first descriptor is read, nothing else. Not here: servers that accept by themselves (`net`).

use crate::{
    emit::{self, Record, Which, reserve, submit},
    filter::{self, listens_on},
    maps::{SESSIONS, count, setting},
    task,
};
use aya_ebpf::helpers::bpf_probe_read_user;
use mta_trace_common::{
    config::{ACCEPTED_MATCHED, ACCEPTED_OTHER, ROLE_LOOP, ROLE_SERVER, Thread},
    event::{FLAG_MATCHED, FLAG_PASSED, Loss},
    smtp::{MODE_COMMAND, Scanner},
};

/// `SOL_SOCKET` and `SCM_RIGHTS`, as `cmsg_level` and `cmsg_type` stand one behind the other (`struct cmsghdr`).
const RIGHTS: u64 = 1 | 1 << 32;
/// `CMSG_LEN` of one descriptor.
const ONE: u64 = 20;

/// A `sendmsg` or `recvmsg` on a unix socket that may carry one. True: it does, and is told if it is a session's.
#[inline(always)]
pub fn told(thread: &mut Thread, which: &Which, is_in: bool) -> bool {
    let may_take = is_in && thread.role == ROLE_SERVER && thread.accepted != ACCEPTED_MATCHED;
    let may_pass = !is_in && thread.role == ROLE_LOOP && thread.has_messages == 0;
    // Loops of other servers pass descriptors to workers of their own, which are loops too.
    if setting!(loop_comm[0]) == 0 || !(may_take || may_pass) || thread.done.ret < 0 {
        return false;
    }
    let fd = carried(thread);
    if fd < 0 {
        return false;
    }
    if task::socket_of(fd as u64, &mut thread.socket) == 0 || thread.socket.peer_port == 0 || !listens_on(thread.socket.local_port) {
        return true;
    }
    let is_wanted = if is_in { take(thread, fd) } else { filter::passed(thread.tgid, fd as u32) };
    if is_wanted {
        tell(thread, which, fd, if is_in { FLAG_PASSED | FLAG_MATCHED } else { FLAG_PASSED });
    }
    true
}

/// The first descriptor in a call's control message (`msg_control` and `msg_controllen` of `struct msghdr`), -1: there is none.
#[inline(always)]
fn carried(thread: &Thread) -> i32 {
    let header = task::argument!(thread, 1);
    // SAFETY: the helper checks the addresses.
    let Ok([control, length]) = (unsafe { bpf_probe_read_user((header + 32) as *const [u64; 2]) }) else { return -1 };
    if control == 0 || length < ONE {
        return -1;
    }
    // SAFETY: as above.
    let Ok([stated, kind]) = (unsafe { bpf_probe_read_user(control as *const [u64; 2]) }) else { return -1 };
    if kind != RIGHTS || stated < ONE {
        return -1;
    }
    // SAFETY: as above.
    unsafe { bpf_probe_read_user((control + 16) as *const i32) }.unwrap_or(-1)
}

/// A server has got a client, as if it had accepted it.
#[inline(always)]
fn take(thread: &mut Thread, fd: i32) -> bool {
    thread.know_socket(fd as u32, true);
    thread.client_fd = fd;
    if !filter::matches_peer(&thread.socket) {
        thread.accepted = ACCEPTED_OTHER;
        return false;
    }
    thread.session = thread.socket.inode;
    thread.accepted = ACCEPTED_MATCHED;
    if SESSIONS.get_ptr(thread.session).is_none() && SESSIONS.insert(thread.session, Scanner::new(MODE_COMMAND), 0).is_err() {
        count(Loss::Tables);
    }
    true
}

#[inline(always)]
fn tell(thread: &Thread, which: &Which, fd: i32, flags: u16) {
    let Some(mut entry) = reserve::<Record<128>>() else { return };
    // SAFETY: `fill` writes all fields; of the data the first four bytes count.
    let record = unsafe { &mut *entry.as_mut_ptr() };
    emit::fill(&mut record.sys, which, thread);
    record.sys.head.flags = flags;
    record.sys.head.data_len = 4;
    // SAFETY: the data area begins at a multiple of 8.
    unsafe { record.data.as_mut_ptr().cast::<i32>().write_volatile(fd) };
    submit(entry);
}
