//! A milter's stages, and what only looks like one.

use super::scenes::*;
use super::trace::*;
use crate::event::*;
use crate::report::{Cause, Outcome};
use mta_trace_common::syscalls::Call;

fn packet(trace: &mut Trace, call: Call, command: u8, ret: i64) {
    let sys = trace.call(call, ret);
    of_socket(sys, 4, 60, Proto::Tcp, "10.99.0.3:8891");
    sys.milter = true;
    sys.data = Some(Bytes(vec![0, 0, 0, 9, command]));
}

fn milter_poll(trace: &mut Trace, ns: u64, ret: i64) {
    let sys = trace.blocked(Call::Pselect6, ret, ns);
    sys.args.read = vec![4];
    sys.args.timeout_ns = Some(10 * SECOND);
}

#[test]
fn milter_stages() {
    let waits = rcpt_waits(|trace| {
        of_socket(trace.blocked(Call::Connect, 0, 5 * MS), 4, 60, Proto::Tcp, "10.99.0.3:8891");
        packet(trace, Call::Writev, b'O', 17);
        milter_poll(trace, 5 * MS, 1);
        packet(trace, Call::Read, b'O', 5);
        packet(trace, Call::Writev, b'D', 20);
        packet(trace, Call::Writev, b'R', 20);
        milter_poll(trace, 3 * SECOND, 1);
        packet(trace, Call::Read, b'r', 5);
        packet(trace, Call::Writev, b'E', 20);
        milter_poll(trace, 10 * SECOND, 0);
    });
    let told: Vec<_> = waits
        .iter()
        .map(|wait| {
            let milter = wait.milter.as_ref().expect("milter");
            (wait.cause, milter.stage.as_str(), milter.reply.as_deref(), wait.outcome, wait.timer_s)
        })
        .collect();
    assert_eq!(
        told,
        [
            (Cause::Milter, "negotiate", Some("negotiate"), Outcome::Ok, None),
            (Cause::Milter, "envrcpt", Some("reject"), Outcome::Denied, None),
            (Cause::Milter, "eom", None, Outcome::Timeout, Some(10.0)),
        ]
    );
    assert_eq!(waits[0].target.as_deref(), Some("10.99.0.3:8891"));
    near(waits[0].elapsed_s, 0.01);
}

#[test]
fn macros_that_a_milter_does_not_take_are_no_negotiation() {
    let waits = rcpt_waits(|trace| {
        let sys = trace.blocked(Call::Writev, 20, SECOND);
        of_socket(sys, 4, 60, Proto::Tcp, "10.99.0.3:8891");
        sys.milter = true;
        sys.data = Some(Bytes(vec![0, 0, 0, 9, b'D']));
    });
    assert_eq!(waits[0].milter.as_ref().map(|milter| milter.stage.as_str()), Some("macros"));
}

#[test]
fn regress_a_request_in_one_write_is_no_nagle() {
    let session = |has_macros: bool| {
        let mut trace = Trace::greeted();
        trace.line("RCPT TO:<a@example.com>\r\n");
        packet(&mut trace, Call::Writev, b'O', 17);
        packet(&mut trace, Call::Read, b'O', 5);
        for command in [b'M', b'R', b'N', b'E'] {
            if has_macros {
                packet(&mut trace, Call::Writev, b'D', 20);
            }
            packet(&mut trace, Call::Writev, command, 20);
            milter_poll(&mut trace, 44 * MS, 1);
            packet(&mut trace, Call::Read, b'c', 5);
        }
        trace.reply("250 ok\r\n");
        trace.quit();
        trace.session()
    };
    let rules = |session: &crate::report::Session| session.findings.iter().map(|it| it.rule.clone()).collect::<Vec<_>>();
    let nagle = session(true);
    assert_eq!(rules(&nagle), ["milter-nagle"]);
    let milter = command(&nagle, "RCPT").waits[0].milter.as_ref().expect("milter");
    assert_eq!((milter.stage.as_str(), milter.writes), ("envfrom", Some(2)));
    assert_eq!(rules(&session(false)), ["milter-slow"]);
}
