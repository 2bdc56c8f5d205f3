//! Postfix's postscreen: an event loop that accepts, waits, and passes its clients on to servers.

use super::trace::*;
use crate::event::*;
use crate::report::{Began, Cause, Session, SessionEnd};
use mta_trace_common::syscalls::Call;

const SCREEN: u32 = 300;
const SMTPD: u32 = 301;
const CLIENT: &str = "10.99.0.1:54712";

/// Its `postscreen`, and an `smtpd` that has nothing to do.
fn trace() -> Trace {
    let mut trace = Trace::empty();
    if let Some(Record::Header(header)) = trace.records.first_mut() {
        header.target.mta = "postfix".into();
        header.target.listening = vec![endpoint("10.99.0.2:25")];
    }
    for (pid, comm, role) in [(SCREEN, "postscreen", "loop"), (SMTPD, "smtpd", "server")] {
        let exe = format!("/usr/lib/postfix/sbin/{comm}");
        trace.records.push(Record::SeedProc(SeedProc { exe, comm: comm.into(), ..seed_process(pid, DAEMON, role) }));
    }
    let socket = SocketId { peer: Some(endpoint("/var/spool/postfix/private/smtpd")), ..socket(60, Proto::Unix) };
    trace.records.push(Record::SeedFd(SeedFd { pid: SCREEN, fd: 9, path: None, socket: Some(socket), client: false }));
    trace.pid = SCREEN;
    trace.accept(CLIENT_INODE, CLIENT);
    trace
}

fn poll(trace: &mut Trace, ns: u64) {
    trace.blocked(Call::EpollWait, 0, ns).args.fd = Some(10);
}

/// The client's descriptor goes out of this process, or has come into it.
fn passes(trace: &mut Trace, call: Call, is_in: bool) {
    let sys = trace.call(call, 1);
    sys.args.fd = Some(9);
    sys.passed = Some(5);
    sys.matched = Some(is_in);
    sys.socket = Some(SocketId { local: Some(endpoint("10.99.0.2:25")), ..socket(CLIENT_INODE, Proto::Tcp) });
    sys.peer = Some(endpoint(CLIENT));
}

/// It is passed on, and closed here; after this time a process takes it, and serves it.
fn is_taken_by(trace: &mut Trace, pid: u32, after_ns: u64) {
    passes(trace, Call::Sendmsg, false);
    trace.close(5);
    trace.t += after_ns;
    trace.pid = pid;
    passes(trace, Call::Recvmsg, true);
}

fn waits(session: &Session) -> Vec<(Cause, Option<&str>, String)> {
    command(session, "CONNECT").waits.iter().map(|wait| (wait.cause, wait.target.as_deref(), format!("{:.1}", wait.elapsed_s))).collect()
}

#[test]
fn a_session_goes_on_in_the_process_that_takes_it() {
    let mut trace = trace();
    poll(&mut trace, 3 * SECOND);
    is_taken_by(&mut trace, SMTPD, 500 * MS);
    trace.reply("220 mx.lab.test\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!((session.pid, session.daemon_pid, session.began, session.end), (SMTPD, SCREEN, Began::Accept, SessionEnd::Quit));
    assert_eq!(waits(&session), [(Cause::Sleep, None, "3.0".into()), (Cause::Mta, Some("smtpd"), "0.5".into())]);
    assert_eq!(session.findings.iter().map(|finding| finding.rule.as_str()).collect::<Vec<_>>(), ["mta-slow", "greet-pause"]);
}

/// The client has passed the other tests before: nothing but the blocklists' answer is waited for.
#[test]
fn regress_what_dnsblog_ends_is_no_configured_pause() {
    let mut trace = trace();
    poll(&mut trace, 2 * SECOND);
    let sys = trace.call(Call::Read, 20);
    sys.args.fd = Some(12);
    sys.socket = Some(socket(61, Proto::Unix));
    sys.peer = Some(endpoint("/var/spool/postfix/private/dnsblog"));
    is_taken_by(&mut trace, SMTPD, 0);
    trace.reply("220 mx.lab.test\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!(waits(&session), [(Cause::Mta, Some("dnsblog"), "2.0".into())]);
}

/// Its sender gives up after some time, and so do we.
#[test]
fn regress_a_session_that_nobody_takes_ends() {
    let mut trace = trace();
    poll(&mut trace, SECOND);
    passes(&mut trace, Call::Sendmsg, false);
    trace.close(5);
    let clock = |t| Record::Clock(Clock { t, wall_ns: 0 });
    let mut analysis = crate::analysis::Analysis::new();
    let mut updates = Vec::new();
    let (early, late) = (clock(trace.t + 100 * SECOND), clock(trace.t + 121 * SECOND));
    trace.records.iter().chain([&early]).for_each(|record| analysis.feed(record, &mut updates));
    assert_eq!(analysis.ended_sessions(), 0);
    analysis.feed(&late, &mut updates);
    assert_eq!(analysis.ended_sessions(), 1);
}

/// At a reload it leaves its sessions to a child (`event_server_drain`) and ends.
#[test]
fn regress_a_reload_does_not_end_sessions() {
    let mut trace = trace();
    poll(&mut trace, SECOND);
    trace.fork(SCREEN + 10, true);
    trace.exit(None);
    trace.pid = SCREEN + 10;
    poll(&mut trace, SECOND);
    is_taken_by(&mut trace, SMTPD, 0);
    trace.reply("220 mx.lab.test\r\n");
    trace.quit();
    let session = trace.session();
    assert_eq!((session.pid, session.end), (SMTPD, SessionEnd::Quit));
}
