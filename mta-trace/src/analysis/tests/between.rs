//! What the server does between two commands.

use super::trace::*;
use crate::event::*;
use crate::report::Cause;
use crate::update::Update;
use mta_trace_common::syscalls::Call;

/// The server locks a file after its reply; the client's next line comes before or after that.
fn busy_after_reply(is_client_first: bool) -> Trace {
    let mut trace = Trace::greeted();
    trace.exchange("NOOP", "250 ok");
    trace.blocked(Call::Flock, 0, 10 * SECOND).args.fd = Some(9);
    if !is_client_first {
        trace.await_client(SECOND);
    }
    trace.line("RSET\r\n");
    trace.cpu(MS);
    trace.reply("250 ok\r\n");
    trace.quit();
    trace
}

#[test]
fn regress_what_the_server_waits_for_before_it_reads_is_told() {
    let (report, updates) = busy_after_reply(true).report();
    let session = &report.sessions[0];
    assert_eq!(session.between.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::FileLock]);
    near(session.between[0].elapsed_s, 10.0);
    // Report-schema: outside commands; it stands in `client_s`, and beside it.
    near(session.client_s, 10.1);
    let finding = &session.findings[0];
    assert_eq!((finding.rule.as_str(), finding.command), ("file-lock", 1));
    assert!(finding.summary.starts_with("after NOOP the server itself waited 10.00 s"), "{}", finding.summary);
    let told = updates.iter().filter(|update| matches!(update, Update::WaitEnded { command: None, wait, .. } if wait.cause != Cause::Client)).count();
    assert_eq!(told, 1);
}

#[test]
fn what_the_server_does_while_the_client_thinks_costs_nothing() {
    let (report, updates) = busy_after_reply(false).report();
    assert_eq!((report.sessions[0].between.len(), report.sessions[0].findings.len()), (0, 0));
    assert!(!updates.iter().any(|update| matches!(update, Update::WaitEnded { wait, .. } if wait.cause == Cause::FileLock)));
}

#[test]
fn regress_a_wait_before_an_unasked_reply_belongs_to_its_command() {
    let mut trace = Trace::greeted();
    trace.exchange("DATA", "354 go");
    trace.await_client(10 * MS);
    // The final dot, and QUIT behind it.
    trace.read(500, SmtpMode::Data);
    trace.reply("250 2.0.0 Ok: queued as 4Fg1\r\n");
    trace.blocked(Call::Flock, 0, 10 * SECOND).args.fd = Some(9);
    trace.reply("221 bye\r\n");
    trace.blocked(Call::Fsync, 0, SECOND).args.fd = Some(9);
    trace.hang_up();
    let (report, updates) = trace.report();
    let session = &report.sessions[0];
    let quit = command(session, "QUIT");
    assert_eq!(quit.waits.iter().map(|wait| wait.cause).collect::<Vec<_>>(), [Cause::FileLock]);
    near(quit.short_waits_s, 0.0);
    let told: Vec<_> = updates
        .iter()
        .filter_map(|update| match update {
            Update::WaitEnded { command, wait, .. } if wait.cause == Cause::FileLock => Some(*command),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Some(quit.index)]);
}
