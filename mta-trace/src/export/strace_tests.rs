//! Lines of strace's own form, from hand-made records.

use super::*;
use crate::event::{Args, Bytes, Counters};
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn exported(records: impl IntoIterator<Item = Record>) -> Vec<String> {
    let out = Memory::default();
    let mut export = (FORMAT.begin)(Output::Stream(Box::new(out.clone()))).expect("a stream");
    for record in records {
        export.record(&record).expect("memory");
    }
    let report = crate::analysis::Analysis::new().finish(&mut Vec::new());
    export.finish(&report).expect("memory");
    String::from_utf8(out.0.borrow().clone()).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn sys(tid: u32, call: Call, args: Args, ret: i64, start: Option<u64>, t: u64) -> Record {
    Record::Sys(Box::new(Sys { t, pid: tid, tid, args, start, ..Sys::bare(call, ret) }))
}

fn with_fd(fd: i32) -> Args {
    Args { fd: Some(fd), ..Args::default() }
}

fn block(nr: i64, call: Option<&str>, unfinished: bool, since: u64, t: u64) -> Record {
    Record::Block(Box::new(Block {
        t,
        pid: 7,
        tid: 7,
        nr,
        call: call.map(str::to_owned),
        since,
        cause: None,
        unfinished,
        args: call.map(|_| Args { len: Some(512), ..with_fd(4) }),
        at: Counters::default(),
        at_start: None,
        socket: None,
        peer: None,
    }))
}

#[test]
fn a_call_is_torn_only_where_another_thread_tells_something() {
    let read = |tid, data: &[u8], start, t| {
        let Record::Sys(mut sys) =
            sys(tid, Call::Read, Args { len: Some(512), ..with_fd(5) }, i64::try_from(data.len()).expect("short"), Some(start), t)
        else {
            unreachable!("it is a call")
        };
        sys.data = Some(Bytes(data.to_vec()));
        Record::Sys(sys)
    };
    let close = |tid, t| sys(tid, Call::Close, with_fd(3), 0, None, t);
    let ms = 1_000_000;
    assert_eq!(
        exported([close(14811, ms), close(9, 3 * ms), read(14811, b"QUIT\r\n", 2 * ms, 4 * ms), read(9, &[0, b'9', b'1', 0, b'1'], 5 * ms, 6 * ms)]),
        [
            "14811 0.001000 close(3)                 = 0",
            "14811 0.002000 read(5,  <unfinished ...>",
            "9     0.003000 close(3)                 = 0",
            "14811 0.004000 <... read resumed>\"QUIT\\r\\n\", 512) = 6 <0.002000>",
            "9     0.005000 read(5, \"\\091\\0001\", 512) = 5 <0.001000>",
        ]
    );
}

#[test]
fn what_is_not_known_is_told_as_unknown() {
    let ms = 1_000_000;
    let killed = Record::Exit(Exit {
        t: 9 * ms,
        pid: 7,
        tid: 7,
        code: 0,
        signal: Some(9),
        call: Some("poll".to_owned()),
        since: Some(8 * ms),
        at: Counters::default(),
    });
    let wait = sys(8, Call::EpollWait, with_fd(16), 0, Some(10 * ms), 11 * ms);
    let looked = Record::Block(Box::new(Block {
        tid: 6,
        ..match block(0, Some("read"), true, 12 * ms, 13 * ms) {
            Record::Block(block) => *block,
            _ => unreachable!("it is a block"),
        }
    }));
    let page_fault = block(-1, None, false, 0, ms);
    assert_eq!(
        exported([page_fault, block(202, None, false, 2 * ms, 4 * ms), block(0, Some("read"), false, 5 * ms, 6 * ms), killed, wait, looked]),
        [
            "7     0.002000 syscall_0xca(...)        = ? <0.002000>",
            "7     0.005000 read(4, ..., 512)        = ? <0.001000>",
            "7     0.008000 poll( <unfinished ...>)  = ?",
            "7     0.009000 +++ killed by SIGKILL +++",
            "8     0.010000 epoll_wait(16, ..., ..., -1) = 0 <0.001000>",
            "6     0.012000 read(4,  <detached ...>",
        ]
    );
}

#[test]
fn more_than_the_window_between_begin_and_end_and_the_line_stands_whole_at_its_end() {
    let records = (0..60_000).map(|number| sys(1, Call::Close, with_fd(3), 0, None, 1_000 * (number + 2)));
    let late = sys(2, Call::Fsync, with_fd(4), 0, Some(1_000), 70_000_000);
    let lines = exported(records.chain([late]));
    assert_eq!(lines.len(), 60_001);
    assert_eq!(lines.last().map(String::as_str), Some("2     0.000001 fsync(4)                 = 0 <0.069999>"));
}
