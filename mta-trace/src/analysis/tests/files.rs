//! Files and the file system: spool, locks, page faults, also inside of other waits.

use super::scenes::*;
use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome};
use mta_trace_common::syscalls::Call;

/// A page fault, or a call that only the scheduler saw (`newfstatat`).
fn file_system(trace: &mut Trace, nr: i64, ns: u64) {
    let block = trace.untold(Call::Fsync, ns);
    (block.nr, block.call, block.cause) = (nr, None, (nr < 0).then(|| "page-fault".to_owned()));
}

#[test]
fn files() {
    let waits = rcpt_waits(|trace| {
        let open = trace.call(Call::Openat, 7);
        open.args.path = Some("qf1".into());
        trace.blocked(Call::Fsync, 0, 10 * MS).args.fd = Some(7);
        trace.blocked(Call::Flock, 0, 20 * MS).args.fd = Some(7);
        let lock = trace.blocked(Call::Fcntl, 0, 30 * MS);
        lock.args.fd = Some(7);
        lock.args.op = Some("F_SETLKW".into());
        trace.blocked(Call::Write, 5, 40 * MS).args.fd = Some(7);
        trace.blocked(Call::Rename, 0, 50 * MS).args.path = Some("tf1".into());
    });
    let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.target.as_deref())).collect();
    let qf = Some("/var/spool/mqueue/qf1");
    assert_eq!(
        told,
        [(Cause::SpoolSync, qf), (Cause::FileLock, qf), (Cause::FileLock, qf), (Cause::FileIo, qf), (Cause::FileIo, Some("/var/spool/mqueue/tf1"))]
    );
    assert_eq!(waits[0].descriptor.as_deref(), Some("fd 7: /var/spool/mqueue/qf1"));
}

#[test]
fn regress_file_system_after_a_finished_ident_is_its_own() {
    for (nr, ns) in [(-1, 2 * MS), (262, 30 * SECOND)] {
        let waits = rcpt_waits(|trace| {
            alarm(trace, 5);
            of_socket(trace.blocked(Call::Connect, -512, 5 * SECOND), 4, 40, Proto::Tcp, "10.99.0.1:113");
            trace.close(4);
            file_system(trace, nr, ns);
        });
        let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.outcome, wait.timer_s)).collect();
        assert_eq!(told, [(Cause::Ident, Outcome::Timeout, Some(5.0)), (Cause::FileIo, Outcome::Ok, None)]);
        near(waits[0].elapsed_s, 5.0);
    }
}

#[test]
fn regress_file_system_after_the_last_time_out_of_a_look_up_is_its_own() {
    for (nr, ns) in [(-1, 2 * MS), (262, 30 * SECOND)] {
        let waits = rcpt_waits(|trace| {
            trace.silent_lookup(1, "example.com", 28);
            file_system(trace, nr, ns);
        });
        let told: Vec<_> = waits.iter().map(|wait| (wait.cause, wait.outcome)).collect();
        assert_eq!(told, [(Cause::Dns, Outcome::Timeout), (Cause::FileIo, Outcome::Ok)]);
        near(waits[0].elapsed_s, 10.01001);
    }
}

#[test]
fn a_page_fault_inside_a_connection_does_not_decide_how_it_ended() {
    let waits = rcpt_waits(|trace| {
        alarm(trace, 5);
        of_socket(trace.call(Call::Connect, 0), 4, 40, Proto::Tcp, "10.99.0.1:113");
        of_socket(trace.call(Call::Write, 10), 4, 40, Proto::Tcp, "10.99.0.1:113");
        file_system(trace, -1, 2 * MS);
        of_socket(trace.blocked(Call::Read, -512, 4998 * MS), 4, 40, Proto::Tcp, "10.99.0.1:113");
    });
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].cause, waits[0].outcome, waits[0].timer_s), (Cause::Ident, Outcome::Timeout, Some(5.0)));
    near(waits[0].elapsed_s, 5.0);
}

#[test]
fn regress_a_long_hang_of_the_file_system_is_no_look_up() {
    let waits = rcpt_waits(|trace| {
        trace.udp(4, 41, "192.0.2.53:53");
        trace.ask(4, 41, "192.0.2.53:53", 7, "example.com", 28);
        file_system(trace, 262, 30 * SECOND);
        trace.answer(4, 41, "192.0.2.53:53", 7, 0, "example.com", 28);
    });
    assert_eq!(waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::FileIo]);
    near(waits[0].elapsed_s, 30.0);
}

#[test]
fn regress_a_look_at_what_is_over_leaves_nothing_behind() {
    let trace = || {
        let mut trace = Trace::greeted();
        trace.line("RCPT TO:<a@example.com>\r\n");
        file_system(&mut trace, 262, 2 * SECOND);
        trace.end();
        trace
    };
    let replayed = trace().report().0;
    let mut live = trace();
    let at = live.records.len() - 2;
    let Some(Record::Block(mut look)) = live.records.get(at).cloned() else { unreachable!("a block") };
    look.t -= SECOND;
    look.at.blocked_ns -= SECOND;
    look.unfinished = true;
    live.records.insert(at, Record::Block(look));
    assert_eq!(live.report().0.sessions, replayed.sessions);
}
