//! Records as strace would print them.

use super::*;
use crate::event::{Args, Block, Bytes, Counters, Endpoint, Fork, PollFd};

fn sys(call: Call, args: Args, ret: i64) -> Sys {
    Sys { t: 2_000_000_000, pid: 14811, tid: 14811, args, ..Sys::bare(call, ret) }
}

fn shown(records: &[Record]) -> Vec<String> {
    let mut out = Vec::new();
    let mut strace = Strace::new(&mut out);
    for record in records {
        strace.record(record).expect("in a test");
    }
    String::from_utf8(out).expect("in a test").lines().map(str::to_owned).collect()
}

fn with_fd(fd: i32) -> Args {
    Args { fd: Some(fd), ..Args::default() }
}

fn socket_id(proto: Proto, local: &str) -> SocketId {
    let Ok(local) = local.parse();
    SocketId { inode: 99, proto, local: Some(local), peer: None, peer_inode: None }
}

fn endpoint(text: &str) -> Endpoint {
    let Ok(endpoint) = text.parse();
    endpoint
}

#[test]
fn a_query_that_is_never_answered() {
    let mut send = sys(Call::Sendto, Args { len: Some(4), flags: vec!["MSG_NOSIGNAL".to_owned()], ..with_fd(4) }, 4);
    send.socket = Some(socket_id(Proto::Udp, "10.99.0.2:40000"));
    send.peer = Some(endpoint("10.99.0.1:53"));
    send.data = Some(Bytes(b"\x12\x34\0\"".to_vec()));
    let entry = PollFd { fd: 4, events: vec!["POLLIN".to_owned()], revents: Vec::new() };
    let args = Args { fds: vec![entry], timeout_ns: Some(5_000_000_000), ..Args::default() };
    let mut poll = sys(Call::Poll, args, 0);
    poll.start = Some(1_000_000_000);
    poll.t = 6_005_123_000;
    assert_eq!(
        shown(&[Record::Sys(Box::new(send)), Record::Sys(Box::new(poll))]),
        [
            r#"14811 2.000000 sendto(4<UDP:[10.99.0.2:40000->10.99.0.1:53]>, "\0224\0\"", 4, MSG_NOSIGNAL) = 4"#,
            "14811 1.000000 poll([{fd=4<UDP:[10.99.0.2:40000->10.99.0.1:53]>, events=POLLIN}], 1, 5000) = 0 (Timeout) <5.005123>",
        ]
    );
}

#[test]
fn errors_and_restarts() {
    let args = Args { addr: Some(endpoint("10.99.0.1:113")), ..with_fd(4) };
    let mut cut = sys(Call::Connect, args, -512);
    cut.start = Some(1_000_000_000);
    assert_eq!(
        shown(&[Record::Sys(Box::new(cut)), Record::Sys(Box::new(sys(Call::Read, with_fd(5), -11)))]),
        [
            "14811 1.000000 connect(4, {sa_family=AF_INET, sin_port=htons(113), sin_addr=inet_addr(\"10.99.0.1\")}) = ? ERESTARTSYS (To be restarted if SA_RESTART is set) <1.000000>",
            "14811 2.000000 read(5) = -1 EAGAIN (Resource temporarily unavailable)",
        ]
    );
}

#[test]
fn descriptors_are_followed() {
    let mut accept = sys(Call::Accept, with_fd(3), 5);
    accept.socket = Some(socket_id(Proto::Tcp, "10.99.0.2:25"));
    accept.peer = Some(endpoint("10.99.0.1:54712"));
    let fork =
        Fork { t: 0, pid: 14811, tid: 14811, child: 14812, child_tid: 14812, comm: "sendmail".to_owned(), traced: true, at: Counters::default() };
    let mut dup = sys(Call::Dup, with_fd(5), 3);
    (dup.pid, dup.tid) = (14812, 14812);
    let mut close = sys(Call::Close, with_fd(5), 0);
    (close.pid, close.tid) = (14812, 14812);
    let mut read = sys(Call::Read, with_fd(5), 0);
    (read.pid, read.tid) = (14812, 14812);
    let all = [accept, dup, close, read].map(|it| Record::Sys(Box::new(it)));
    let [accept, dup, close, read] = all;
    let name = "TCP:[10.99.0.2:25->10.99.0.1:54712]";
    assert_eq!(
        shown(&[accept, Record::Fork(fork), dup, close, read]),
        [
            format!("14811 2.000000 accept(3) = 5<{name}>"),
            "14811 0.000000 +++ new process 14812 (sendmail) +++".to_owned(),
            format!("14812 2.000000 dup(5<{name}>) = 3<{name}>"),
            format!("14812 2.000000 close(5<{name}>) = 0"),
            "14812 2.000000 read(5) = 0".to_owned(),
        ]
    );
}

#[test]
fn what_has_not_returned() {
    let block = |nr: i64, call: Option<&str>, cause: Option<&str>, unfinished: bool| {
        Record::Block(Box::new(Block {
            t: 3_000_000_000,
            pid: 7,
            tid: 8,
            nr,
            call: call.map(str::to_owned),
            since: 1_000_000_000,
            cause: cause.map(str::to_owned),
            unfinished,
            args: None,
            at: Counters::default(),
            at_start: None,
            socket: None,
            peer: None,
        }))
    };
    assert_eq!(
        shown(&[block(7, Some("poll"), None, true), block(-1, None, Some("page-fault"), false), block(999, None, None, false)]),
        ["8 1.000000 poll( <unfinished ...> <2.000000>", "8 1.000000 /* page-fault */ () = ? <2.000000>", "8 1.000000 syscall_999() = ? <2.000000>",]
    );
}

#[test]
fn sets_and_hostile_paths() {
    let select = Args { read: vec![5], except: vec![5], timeout_ns: Some(4_000_000_000), ..Args::default() };
    let open = Args { path: Some("/tmp/\u{1b}[2J\u{202e}x".to_owned()), flags: vec!["O_RDONLY".to_owned()], ..Args::default() };
    assert_eq!(
        shown(&[Record::Sys(Box::new(sys(Call::Pselect6, select, 0))), Record::Sys(Box::new(sys(Call::Openat, open, 6)))]),
        [
            "14811 2.000000 pselect6(6, [5], NULL, [5], {tv_sec=4, tv_nsec=0}) = 0 (Timeout)",
            "14811 2.000000 openat(\"/tmp/\\33[2J\\342\\200\\256x\", O_RDONLY) = 6</tmp/\\x1b[2J\\u{202e}x>",
        ]
    );
}

#[test]
fn regress_closed_duplicated_and_piped_descriptors_are_followed() {
    let open = |fd| sys(Call::Openat, Args { path: Some(format!("/f{fd}")), ..Args::default() }, fd);
    let duplicate = sys(Call::Fcntl, Args { fd: Some(4), op: Some("F_DUPFD_CLOEXEC".to_owned()), ..Args::default() }, 6);
    let pipe = sys(Call::Pipe2, Args { fd: Some(7), fd2: Some(8), ..Args::default() }, 0);
    let on_exec = Args { fd: Some(3), fd2: Some(-1), flags: vec!["CLOSE_RANGE_CLOEXEC".to_owned()], ..Args::default() };
    let all = Args { fd: Some(3), fd2: Some(-1), ..Args::default() };
    let calls = [
        open(2),
        open(4),
        duplicate,
        pipe,
        sys(Call::CloseRange, on_exec, 0),
        sys(Call::Read, with_fd(6), 0),
        sys(Call::Read, with_fd(7), 0),
        sys(Call::CloseRange, all, 0),
        sys(Call::Read, with_fd(6), 0),
        sys(Call::Read, with_fd(2), 0),
    ];
    let lines = shown(&calls.map(|it| Record::Sys(Box::new(it))));
    let expected = [
        "fcntl(4</f4>, F_DUPFD_CLOEXEC) = 6</f4>",
        "pipe2([7<pipe:[8->7]>, 8<pipe:[8->7]>]) = 0",
        "close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC) = 0",
        "read(6</f4>) = 0",
        "read(7<pipe:[8->7]>) = 0",
        "close_range(3, 4294967295) = 0",
        "read(6) = 0",
        "read(2</f2>) = 0",
    ];
    for (line, expected) in lines.iter().skip(2).zip(expected) {
        assert_eq!(line.strip_prefix("14811 2.000000 "), Some(expected));
    }
}
