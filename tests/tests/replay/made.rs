//! What takes hours, or a clock that jumps, or a process id that comes round again: logs that nobody records, made step by step.
//!
//! In comes a name, out goes a log of `replay-handmade/`. Each begins with what it is about.

use super::builder::{Builder, DAEMON, MS, SECOND};

type Make = fn() -> Vec<u8>;

/// Name of each log, and what makes it.
pub const LOGS: &[(&str, Make)] = &[
    ("hour-long", hour_long),
    ("clock-stepped", clock_stepped),
    ("suspended", suspended),
    ("pid-reused", pid_reused),
    ("pid-reused-behind-loss", pid_reused_behind_loss),
];

const HOUR: i64 = 3_600 * SECOND.cast_signed();

fn greet(log: &mut Builder, child: u32, inode: u64, peer: &str) {
    log.accept(inode, peer);
    log.serve(child);
    log.reply(child, "220 m1.example.test ESMTP Sendmail");
}

fn exchange(log: &mut Builder, child: u32, line: &str, reply: &str) {
    log.pass(10 * MS);
    log.line(child, line);
    log.reply(child, reply);
}

fn quit(log: &mut Builder, child: u32) {
    exchange(log, child, "QUIT", "221 2.0.0 m1.example.test closing connection");
    log.exit(child);
}

/// A client that stays for 3,700 s: it thinks for ten minutes before each command, and one command waits as long for a lock.
fn hour_long() -> Vec<u8> {
    let mut log = Builder::new();
    greet(&mut log, 201, 7001, "192.0.2.7:40000");
    let think = |log: &mut Builder, line: &str| {
        for _ in 0..10 {
            log.pass(60 * SECOND);
            log.clock();
        }
        log.line(201, line);
    };
    think(&mut log, "HELO client.example.net");
    log.reply(201, "250 m1.example.test Hello client.example.net");
    think(&mut log, "MAIL FROM:<a@example.com>");
    for _ in 0..10 {
        log.pass(60 * SECOND);
        log.clock();
    }
    log.locked(201);
    log.reply(201, "250 2.1.0 <a@example.com>... Sender ok");
    for _ in 0..3 {
        think(&mut log, "NOOP");
        log.reply(201, "250 2.0.0 OK");
    }
    log.pass(100 * SECOND);
    quit(&mut log, 201);
    log.end()
}

/// While MAIL waits for 20 s the wall clock is set back by an hour, and forward by two behind it: no time is longer or shorter for that.
fn clock_stepped() -> Vec<u8> {
    let mut log = Builder::new();
    log.clock();
    greet(&mut log, 201, 7001, "192.0.2.7:40000");
    exchange(&mut log, 201, "HELO client.example.net", "250 m1.example.test Hello client.example.net");
    log.pass(10 * MS);
    log.line(201, "MAIL FROM:<a@example.com>");
    log.pass(10 * SECOND);
    log.set_clock(-HOUR);
    log.clock();
    log.pass(10 * SECOND);
    log.clock();
    log.locked(201);
    log.reply(201, "250 2.1.0 <a@example.com>... Sender ok");
    log.set_clock(2 * HOUR);
    log.clock();
    exchange(&mut log, 201, "RSET", "250 2.0.0 Reset state");
    quit(&mut log, 201);
    // One that begins by the clock as it is now.
    greet(&mut log, 202, 7002, "192.0.2.7:40001");
    quit(&mut log, 202);
    log.end()
}

/// The machine sleeps for an hour while MAIL waits for 20 s by the monotonic clock, which stands still meanwhile: the hour is in no session's
/// time, and who was accepted before it was accepted an hour earlier.
fn suspended() -> Vec<u8> {
    let mut log = Builder::new();
    log.clock();
    greet(&mut log, 201, 7001, "192.0.2.7:40000");
    exchange(&mut log, 201, "HELO client.example.net", "250 m1.example.test Hello client.example.net");
    log.pass(10 * MS);
    log.line(201, "MAIL FROM:<a@example.com>");
    log.pass(10 * SECOND);
    log.suspend(HOUR);
    log.clock();
    log.pass(10 * SECOND);
    log.locked(201);
    log.reply(201, "250 2.1.0 <a@example.com>... Sender ok");
    quit(&mut log, 201);
    greet(&mut log, 202, 7002, "192.0.2.7:40001");
    quit(&mut log, 202);
    log.end()
}

/// One process id serves a session, then is a mailer of another session, then serves a third beside that.
fn pid_reused() -> Vec<u8> {
    let mut log = Builder::new();
    greet(&mut log, 201, 7001, "192.0.2.7:40000");
    exchange(&mut log, 201, "HELO first.example.net", "250 m1.example.test Hello first.example.net");
    quit(&mut log, 201);
    greet(&mut log, 202, 7002, "192.0.2.7:40001");
    exchange(&mut log, 202, "HELO second.example.net", "250 m1.example.test Hello second.example.net");
    log.fork(202, 201, false);
    log.pass(MS);
    log.exit(201);
    greet(&mut log, 201, 7003, "192.0.2.7:40002");
    exchange(&mut log, 201, "HELO third.example.net", "250 m1.example.test Hello third.example.net");
    log.pass(10 * MS);
    log.line(202, "MAIL FROM:<second@example.com>");
    log.pass(10 * MS);
    log.line(201, "MAIL FROM:<third@example.com>");
    log.pass(2 * SECOND);
    log.locked(201);
    log.reply(201, "250 2.1.0 <third@example.com>... Sender ok");
    log.pass(SECOND);
    log.locked(202);
    log.reply(202, "250 2.1.0 <second@example.com>... Sender ok");
    quit(&mut log, 202);
    quit(&mut log, 201);
    log.end()
}

/// 3,000 times RSET, MAIL, RCPT and NOOP, of which each MAIL waits for 2 ms. Not written into a file.
pub fn very_many_commands() -> Vec<u8> {
    let mut log = Builder::new();
    greet(&mut log, 201, 7001, "192.0.2.7:40000");
    for _ in 0..3_000 {
        exchange(&mut log, 201, "RSET", "250 2.0.0 Reset state");
        log.pass(10 * MS);
        log.line(201, "MAIL FROM:<a@example.com>");
        log.pass(2 * MS);
        log.locked(201);
        log.reply(201, "250 2.1.0 <a@example.com>... Sender ok");
        exchange(&mut log, 201, "RCPT TO:<b@example.com>", "250 2.1.5 <b@example.com>... Recipient ok");
        exchange(&mut log, 201, "NOOP", "250 2.0.0 OK");
    }
    log.exit(201);
    log.end()
}

/// The end of a session is lost, and its process id serves another one: the first is over when the second begins, and has none of its time.
fn pid_reused_behind_loss() -> Vec<u8> {
    let mut log = Builder::new();
    greet(&mut log, 201, 7001, "192.0.2.7:40000");
    exchange(&mut log, 201, "HELO first.example.net", "250 m1.example.test Hello first.example.net");
    log.exit_unseen(201);
    log.lose(3);
    log.pass(60 * SECOND);
    greet(&mut log, 201, 7002, "192.0.2.7:40001");
    exchange(&mut log, 201, "HELO second.example.net", "250 m1.example.test Hello second.example.net");
    quit(&mut log, 201);
    // The daemon's own account goes on.
    log.fork(DAEMON, 203, false);
    log.end()
}
