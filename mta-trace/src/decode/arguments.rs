//! Arguments of a call by their meaning, one arm per family of the table.
//!
//! In: registers, and what was copied of the memory that they point to. Out: [`Args`]. Total on any bytes. Not here: what the call transferred.

use super::{names, socket};
use crate::event::{Args, PollFd};
use mta_trace_common::{event as raw, syscalls::Call};
use zerocopy::FromBytes;

/// The low 32 bits of a register as the `int` that the call takes.
pub fn int(register: u64) -> i32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Arguments by their meaning. Without `data` (a call that has not returned) what stands in memory is absent.
pub fn arguments(call: Call, registers: &[u64; 6], data: &[u8]) -> Args {
    let [a, b, c, d, ..] = *registers;
    let mut args = Args { fd: call.row().fd0.then(|| int(a)), ..Args::default() };
    match call {
        Call::Read | Call::Pread64 | Call::Write | Call::Pwrite64 => args.len = Some(c),
        Call::Recvfrom | Call::Sendto => {
            args.len = Some(c);
            args.flags = names::bits(d & 0xffff_ffff, names::MSG);
        }
        Call::Recvmsg | Call::Sendmsg => args.flags = names::bits(c & 0xffff_ffff, names::MSG),
        Call::Recvmmsg | Call::Sendmmsg => args.flags = names::bits(d & 0xffff_ffff, names::MSG),
        Call::Connect => args.addr = socket::address(data),
        Call::Accept4 => args.flags = names::bits(d & 0xffff_ffff, names::SOCK),
        Call::Close => args.fd = Some(int(a)),
        Call::CloseRange => {
            args.fd = Some(int(a));
            args.fd2 = Some(int(b));
            args.flags = names::bits(c & 0xffff_ffff, names::CLOSE_RANGE);
        }
        Call::Dup2 | Call::Dup3 => {
            args.fd = Some(int(a));
            args.fd2 = Some(int(b));
        }
        Call::Fcntl => {
            args.op = Some(names::fcntl(b & 0xffff_ffff));
            args.fd2 = matches!(b, 0 | 1030).then(|| int(c));
        }
        Call::Flock => args.op = Some(names::flock(b & 0xffff_ffff)),
        Call::Poll => {
            args.fds = poll_fds(data);
            args.timeout_ns = milliseconds(c);
        }
        Call::Ppoll => args.fds = poll_fds(data),
        Call::EpollWait | Call::EpollPwait => args.timeout_ns = milliseconds(d),
        Call::Select | Call::Pselect6 => {
            if let Ok((asked, _)) = raw::Selects::read_from_prefix(data) {
                selects(&mut args, &asked);
            }
        }
        Call::Open => {
            args.path = path(data);
            args.flags = names::bits(b & 0xffff_ffff, names::OPEN);
        }
        Call::Openat => {
            args.fd = directory(a);
            args.path = path(data);
            args.flags = names::bits(c & 0xffff_ffff, names::OPEN);
        }
        Call::Renameat | Call::Renameat2 | Call::Unlinkat => {
            args.fd = directory(a);
            args.path = path(data);
        }
        Call::Rename | Call::Unlink | Call::Chdir => args.path = path(data),
        // An absolute time is no duration.
        Call::ClockNanosleep if b & 1 == 1 => args.flags = vec!["TIMER_ABSTIME".into()],
        Call::Nanosleep | Call::ClockNanosleep => args.timeout_ns = timespec(data),
        Call::Wait4 => {
            args.pid = Some(int(a));
            args.flags = names::bits(c & 0xffff_ffff, names::WAIT);
        }
        Call::Waitid => args.pid = Some(int(b)),
        Call::Alarm => args.timeout_ns = Some((a & 0xffff_ffff).saturating_mul(1_000_000_000)),
        Call::Setitimer => args.timeout_ns = itimer(data),
        Call::Pipe | Call::Pipe2 => {
            args.fd = pair(data).map(|[read, _]| read);
            args.fd2 = pair(data).map(|[_, write]| write);
        }
        Call::Readv
        | Call::Writev
        | Call::Accept
        | Call::Dup
        | Call::Socketpair
        | Call::Fsync
        | Call::Fdatasync
        | Call::Sync
        | Call::RestartSyscall => {}
    }
    args
}

/// The two descriptors of a pipe: its reading end, its writing end.
fn pair(data: &[u8]) -> Option<[i32; 2]> {
    let [a, b, c, d, e, f, g, h] = *data.first_chunk()?;
    Some([i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h])])
}

/// The directory of `*at` calls, if it is not the working directory (`AT_FDCWD`, -100).
fn directory(register: u64) -> Option<i32> {
    Some(int(register)).filter(|fd| *fd != -100)
}

fn milliseconds(register: u64) -> Option<u64> {
    u64::try_from(int(register)).ok().map(|ms| ms * 1_000_000)
}

fn path(data: &[u8]) -> Option<String> {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    data.get(..end).filter(|path| !path.is_empty()).map(|path| String::from_utf8_lossy(path).into_owned())
}

fn word(data: &[u8], index: usize) -> Option<i64> {
    data.get(index * 8..index * 8 + 8)?.try_into().ok().map(i64::from_le_bytes)
}

fn timespec(data: &[u8]) -> Option<u64> {
    u64::try_from(word(data, 0)?.checked_mul(1_000_000_000)?.checked_add(word(data, 1)?)?).ok()
}

/// `it_value` of a `struct itimerval` (microseconds).
fn itimer(data: &[u8]) -> Option<u64> {
    u64::try_from(word(data, 2)?.checked_mul(1_000_000_000)?.checked_add(word(data, 3)?.checked_mul(1000)?)?).ok()
}

fn poll_fds(data: &[u8]) -> Vec<PollFd> {
    polled(data.as_chunks::<8>().0)
}

/// Entries of a `poll` (`struct pollfd`).
pub fn polled(entries: &[[u8; 8]]) -> Vec<PollFd> {
    entries
        .iter()
        .map(|[a, b, c, d, e, f, g, h]| PollFd {
            fd: i32::from_le_bytes([*a, *b, *c, *d]),
            events: names::bits(u64::from(u16::from_le_bytes([*e, *f])), names::POLL),
            revents: names::bits(u64::from(u16::from_le_bytes([*g, *h])), names::POLL),
        })
        .collect()
}

/// What `select` was asked.
pub fn selects(args: &mut Args, selects: &raw::Selects) {
    let [read, write, except] = selects.sets;
    args.read = descriptors(read);
    args.write = descriptors(write);
    args.except = descriptors(except);
    args.timeout_ns = u64::try_from(selects.timeout).ok();
}

fn descriptors(set: [u64; 2]) -> Vec<i32> {
    (0..128).filter(|fd: &i32| set.get(usize::from(*fd >= 64)).is_some_and(|word| word >> (fd % 64) & 1 == 1)).collect()
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
