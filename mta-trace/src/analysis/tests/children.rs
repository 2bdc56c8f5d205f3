//! Children that are awaited, and pipes to and from them.

use super::scenes::*;
use super::trace::*;
use crate::event::*;
use crate::report::Cause;
use mta_trace_common::syscalls::Call;

#[test]
fn a_child_that_is_awaited() {
    let waits = rcpt_waits(|trace| {
        trace.fork(300, false);
        trace.pid = 300;
        trace.exit(None);
        trace.pid = CHILD;
        trace.blocked(Call::Wait4, 300, 7 * MS).args.pid = Some(-1);
    });
    assert_eq!((waits[0].cause, waits[0].target.as_deref()), (Cause::Child, Some("300 sendmail")));
}

#[test]
fn regress_a_pipe_from_a_child() {
    let with_children = |children: &[u32]| {
        rcpt_waits(|trace| {
            let pipe = trace.call(Call::Pipe2, 0);
            (pipe.args.fd, pipe.args.fd2) = (Some(8), Some(9));
            for child in children {
                trace.fork(*child, false);
            }
            trace.close(9);
            trace.blocked(Call::Read, 5, 2 * SECOND).args.fd = Some(8);
        })
    };
    let wait = &with_children(&[300])[0];
    assert_eq!((wait.cause, wait.descriptor.as_deref()), (Cause::Child, Some("fd 8: pipe:[9->8]")));
    assert_eq!(wait.target.as_deref(), Some("300 sendmail"));
    // Which of two writes into it is not known.
    let wait = &with_children(&[300, 301])[0];
    assert_eq!((wait.cause, wait.target.as_deref()), (Cause::Child, None));
    // Without a child nobody is known who could write.
    assert_eq!(with_children(&[])[0].cause, Cause::Unknown);
}

/// sendmail's daemon lets its child wait at a pipe until it has taken note of it: on a busy machine that was `unknown`.
#[test]
fn regress_a_pipe_from_the_daemon() {
    let greeting = |is_its_own: bool| {
        let mut trace = Trace::empty();
        trace.accept(CLIENT_INODE, "10.99.0.1:54712");
        let open_pipe = |trace: &mut Trace| {
            let pipe = trace.call(Call::Pipe2, 0);
            (pipe.args.fd, pipe.args.fd2) = (Some(8), Some(9));
        };
        open_pipe(&mut trace);
        trace.fork(CHILD, true);
        trace.pid = CHILD;
        if is_its_own {
            trace.close(8);
            open_pipe(&mut trace);
        }
        trace.close(9);
        trace.blocked(Call::Read, 0, 2 * SECOND).args.fd = Some(8);
        trace.reply("220 hi\r\n");
        trace.quit();
        command(&trace.session(), "CONNECT").waits[0].clone()
    };
    let wait = greeting(false);
    let daemon = format!("{DAEMON} sendmail");
    assert_eq!((wait.cause, wait.target, wait.descriptor.as_deref()), (Cause::Mta, Some(daemon), Some("fd 8: pipe:[9->8]")));
    // A pipe of its own under the same numbers leads elsewhere.
    assert_eq!(greeting(true).cause, Cause::Unknown);
}

/// sendmail reads its mailer's pipe to the end, which comes when the mailer has ended.
#[test]
fn regress_a_child_that_ends_while_it_is_waited_for() {
    let waits = rcpt_waits(|trace| {
        let pipe = trace.call(Call::Pipe2, 0);
        (pipe.args.fd, pipe.args.fd2) = (Some(8), Some(9));
        trace.fork(300, false);
        trace.close(9);
        let began = trace.records.len();
        trace.blocked(Call::Read, 0, 2 * SECOND).args.fd = Some(8);
        let t = trace.t - SECOND / 1000;
        let exit = Exit { t, pid: 300, tid: 300, code: 0, signal: None, call: None, since: None, at: Counters::default() };
        trace.records.insert(began, Record::Exit(exit));
    });
    assert_eq!(waits[0].cause, Cause::Child);
}
