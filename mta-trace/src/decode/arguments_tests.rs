//! Registers and memory, as the kernel side copies them, and what they say: a line for each family of the table.

use super::*;

const FDCWD: u64 = 0xffff_ff9c;

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn words(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn of(call: Call, registers: &[u64], data: &[u8]) -> Args {
    let mut all = [0xdead_beef_dead_beef; 6];
    all.iter_mut().zip(registers).for_each(|(to, from)| *to = *from);
    arguments(call, &all, data)
}

#[test]
fn each_family_has_its_arguments() {
    let inet = [[2, 0, 0, 113].as_slice(), &[10, 99, 0, 1], &[0; 8]].concat();
    let poll = [7_i32.to_le_bytes().as_slice(), &[1, 0], &[0x10, 0]].concat();
    let pipe = [8_i32.to_le_bytes(), 9_i32.to_le_bytes()].concat();
    let none = Args::default;
    // What the upper half of a register holds is no part of an `int`.
    for (call, registers, data, expected) in [
        (Call::Read, &[0xffff_ffff_0000_0003, 0, 512][..], &[][..], Args { fd: Some(3), len: Some(512), ..none() }),
        (Call::Recvfrom, &[4, 0, 20, 2], &[], Args { fd: Some(4), len: Some(20), flags: strings(&["MSG_PEEK"]), ..none() }),
        (Call::Recvmsg, &[4, 0, 0x40], &[], Args { fd: Some(4), flags: strings(&["MSG_DONTWAIT"]), ..none() }),
        (Call::Accept4, &[3, 0, 0, 0x8_0800], &[], Args { fd: Some(3), flags: strings(&["SOCK_NONBLOCK", "SOCK_CLOEXEC"]), ..none() }),
        (Call::Connect, &[5, 0, 16], &inet, Args { fd: Some(5), addr: "10.99.0.1:113".parse().ok(), ..none() }),
        (Call::CloseRange, &[3, 0xffff_ffff, 0], &[], Args { fd: Some(3), fd2: Some(-1), ..none() }),
        (Call::Dup2, &[6, 1], &[], Args { fd: Some(6), fd2: Some(1), ..none() }),
        (Call::Fcntl, &[6, 1030, 10], &[], Args { fd: Some(6), op: Some("F_DUPFD_CLOEXEC".into()), fd2: Some(10), ..none() }),
        (Call::Fcntl, &[6, 7, 0], &[], Args { fd: Some(6), op: Some("F_SETLKW".into()), ..none() }),
        (Call::Flock, &[6, 2], &[], Args { fd: Some(6), op: Some("LOCK_EX".into()), ..none() }),
        (
            Call::Poll,
            &[0, 1, 5000],
            &poll,
            Args {
                fds: vec![PollFd { fd: 7, events: strings(&["POLLIN"]), revents: strings(&["POLLHUP"]) }],
                timeout_ns: Some(5_000_000_000),
                ..none()
            },
        ),
        (Call::Poll, &[0, 1, 0xffff_ffff], &[], none()),
        (Call::EpollWait, &[9, 0, 32, 100], &[], Args { fd: Some(9), timeout_ns: Some(100_000_000), ..none() }),
        (
            Call::Openat,
            &[FDCWD, 0, 0x8_0002],
            b"/var/spool/x\0rest",
            Args { path: Some("/var/spool/x".into()), flags: strings(&["O_RDWR", "O_CLOEXEC"]), ..none() },
        ),
        (Call::Unlinkat, &[7, 0, 0], b"df1\0", Args { fd: Some(7), path: Some("df1".into()), ..none() }),
        (Call::Chdir, &[0], b"/var/spool/mqueue\0", Args { path: Some("/var/spool/mqueue".into()), ..none() }),
        (Call::Nanosleep, &[0, 0], &words(&[2, 500_000_000]), Args { timeout_ns: Some(2_500_000_000), ..none() }),
        (Call::ClockNanosleep, &[1, 1], &words(&[2, 0]), Args { flags: strings(&["TIMER_ABSTIME"]), ..none() }),
        (Call::Wait4, &[0xffff_ffff, 0, 1], &[], Args { pid: Some(-1), flags: strings(&["WNOHANG"]), ..none() }),
        (Call::Waitid, &[1, 70], &[], Args { pid: Some(70), ..none() }),
        (Call::Alarm, &[5], &[], Args { timeout_ns: Some(5_000_000_000), ..none() }),
        (Call::Setitimer, &[0], &words(&[0, 0, 3, 250_000]), Args { timeout_ns: Some(3_250_000_000), ..none() }),
        (Call::Pipe2, &[0, 0], &pipe, Args { fd: Some(8), fd2: Some(9), ..none() }),
        (Call::Fsync, &[6], &[], Args { fd: Some(6), ..none() }),
    ] {
        assert_eq!(of(call, registers, data), expected, "{}", call.name());
    }
}

#[test]
fn what_was_not_copied_is_absent() {
    for call in [Call::Connect, Call::Poll, Call::Select, Call::Open, Call::Rename, Call::Nanosleep, Call::Setitimer, Call::Pipe] {
        let args = of(call, &[0, 0, 0xffff_ffff, 0], &[]);
        let Args { addr, fds, read, path, timeout_ns, fd2, .. } = args;
        assert!(addr.is_none() && fds.is_empty() && read.is_empty() && path.is_none() && timeout_ns.is_none() && fd2.is_none(), "{}", call.name());
    }
}

#[test]
fn times_that_are_no_times_are_absent() {
    for (call, data) in
        [(Call::Nanosleep, words(&[-1, 0])), (Call::Nanosleep, words(&[i64::MAX, 1])), (Call::Setitimer, words(&[0, 0, i64::MAX, i64::MAX]))]
    {
        assert_eq!(of(call, &[0], &data).timeout_ns, None, "{}", call.name());
    }
}
