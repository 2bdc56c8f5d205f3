//! What is kept of dialogues, whichever way they are read.

extern crate std;

use super::*;
use std::{string::String, vec::Vec};

/// What is kept of reads, one after another, as user space puts it together: NUL for each byte that is not.
fn kept(reads: &[&str]) -> (String, Scanner) {
    let mut scanner = Scanner::new(MODE_COMMAND);
    let mut all: Vec<u8> = Vec::new();
    for read in reads {
        for byte in read.bytes() {
            match scanner.step(byte) {
                Fate::Keep => all.push(byte),
                Fate::Wipe => all.push(WIPED),
                Fate::Release => {
                    for k in 0..usize::from(scanner.held) {
                        let at = all.len() - 1 - k;
                        all[at] = (scanner.letters >> (8 * k)) as u8;
                    }
                    scanner.released();
                    all.push(byte);
                }
            }
        }
    }
    (String::from_utf8_lossy(&all).replace('\0', "."), scanner)
}

#[test]
fn lines_of_verbs_are_kept() {
    for line in ["HELO x\r\n", "mail from:<a@b>\r\n", "  RCPT TO:<c@d>\n", "QUIT\r\n", "quit\n", "XFORWARD NAME=x\r\n", "NOOP\r\n"] {
        let (text, scanner) = kept(&[line]);
        assert_eq!((text.as_str(), scanner.hush, scanner.mode), (line, 0, MODE_COMMAND));
    }
}

#[test]
fn anything_else_is_its_length() {
    for line in ["hunter2\r\n", "QUITE so\r\n", "HELOx\r\n", "STARTTLSS\r\n", "\u{1}QUIT\r\n", "secret\n", "MAIL:x\r\n"] {
        let (text, scanner) = kept(&[line]);
        let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
        assert_eq!(text, ".".repeat(line.len() - end.len()) + end, "{line}");
        assert_eq!(scanner.hush, 1, "{line}");
    }
}

#[test]
fn of_auth_the_mechanism_and_nothing_behind_it() {
    for (reads, expected) in [
        (&["AUTH PLAIN AHNlY3JldA==\r\n"][..], "AUTH PLAIN.............\r\n"),
        (&["auth\tscram-sha-256\r\nc2VjcmV0\r\n"], "auth\tscram-sha-256\r\n.........."),
        (&["AUTH LOGIN\n", "c2VjcmV0\r\n"], "AUTH LOGIN\n.........."),
        (&["MAIL FROM:<a@b> AUTH=u@x SIZE=5\r\n"], "MAIL FROM:<a@b> AUTH=... SIZE=5\r\n"),
        (&["MAIL FROM:<a@b> auth=<>\r\n"], "MAIL FROM:<a@b> auth=..\r\n"),
        (&["DATA\r\nSubject: x\r\n"], "DATA\r\n............"),
        // Found by the fuzz target `scanner`: no address stood between; no blank stood behind the verb.
        (&["MAIL AUTH=u@x FROM:<a@b>\r\n"], "MAIL AUTH=... FROM:<a@b>\r\n"),
        (&["AUTH\rhunter2\r\n"], "AUTH\r.......\r\n"),
    ] {
        let (text, scanner) = kept(reads);
        assert_eq!(text, expected);
        assert_eq!(scanner.hush, 1, "{expected}");
    }
}

#[test]
fn a_line_split_at_every_byte_is_the_same() {
    let line = "RSET\r\nAUTH PLAIN c2VjcmV0\r\n";
    let pieces: Vec<String> = line.chars().map(String::from).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(kept(&pieces).0, kept(&[line]).0);
    let pieces: Vec<&str> = ["s", "e", "c", "r", "e", "t", "\r", "\n"].into();
    let (text, scanner) = kept(&pieces);
    assert_eq!((text.as_str(), scanner.hush), ("......\r\n", 1));
}

#[test]
fn replies_change_the_mode() {
    let mut scanner = Scanner::new(MODE_PENDING);
    for (reply, mode) in [
        ("250-a\r\n250 b\r\n", MODE_COMMAND),
        ("334 x\r\n", MODE_AUTH),
        ("354\r\n", MODE_DATA),
        ("354-x", MODE_DATA),
        ("\r\n250 ok\r\n", MODE_COMMAND),
    ] {
        for byte in reply.bytes() {
            if scanner.reply_byte(byte) {
                scanner.reply();
            }
        }
        assert_eq!(scanner.mode, mode, "{reply}");
    }
    scanner.starttls = 1;
    for byte in *b"220 go\r\n" {
        if scanner.reply_byte(byte) {
            scanner.reply();
        }
    }
    assert_eq!(scanner.mode, MODE_OPAQUE);
}

fn say(scanner: &mut Scanner, text: &str) -> String {
    let mut out = Vec::new();
    for byte in text.bytes() {
        out.push(if scanner.is_hushed(byte) { b'.' } else { byte });
        if scanner.reply_byte(byte) {
            scanner.reply();
        }
    }
    String::from_utf8(out).unwrap()
}

fn hear(scanner: &mut Scanner, text: &str) {
    for byte in text.bytes() {
        if scanner.step(byte) == Fate::Release {
            scanner.released();
        }
    }
}

/// sendmail writes its replies only when nothing more can be read: the next read says nothing.
#[test]
fn replies_that_come_after_the_next_read_are_still_hushed() {
    let mut scanner = Scanner::new(MODE_COMMAND);
    hear(&mut scanner, "hunter2\r\n");
    hear(&mut scanner, "NOOP\r\n");
    assert_eq!(say(&mut scanner, "500 \"hunter2\"\r\n250 ok\r\n"), "500 .........\r\n250 ..\r\n");
    assert_eq!((scanner.outstanding, scanner.hush), (0, 0));
    hear(&mut scanner, "NOOP\r\n");
    assert_eq!(say(&mut scanner, "250 ok\r\n"), "250 ok\r\n");
}

#[test]
fn what_stands_behind_the_final_dot_is_hushed_when_it_is_answered() {
    let mut scanner = Scanner::new(MODE_COMMAND);
    hear(&mut scanner, "DATA\r\n");
    assert_eq!(say(&mut scanner, "354 go\r\n"), "354 go\r\n");
    assert!(!scanner.data(u32::from_be_bytes(*b"r2\r\n"), 20), "the read `.`, `hunter2` has no dot at its end");
    assert_eq!(say(&mut scanner, "250 queued\r\n500 hunter2\r\n"), "250 queued\r\n500 .......\r\n");
    scanner.waited();
    assert_eq!((scanner.mode, scanner.hush), (MODE_COMMAND, 0));
}

#[test]
fn lines_behind_auth_are_hushed_when_they_are_answered() {
    let mut scanner = Scanner::new(MODE_COMMAND);
    hear(&mut scanner, "AUTH LOGIN\r\n");
    say(&mut scanner, "334 VXNlcm5hbWU6\r\n");
    hear(&mut scanner, "dXNlcg==\r\ncGFzcw==\r\nhunter2\r\n");
    assert_eq!(say(&mut scanner, "334 UGFz\r\n235 ok\r\n500 hunter2\r\n"), "334 ....\r\n235 ..\r\n500 .......\r\n");
    assert_eq!((scanner.mode, scanner.hush), (MODE_COMMAND, 0));
}

#[test]
fn only_its_own_reply_ends_what_a_command_began() {
    let mut scanner = Scanner::new(MODE_COMMAND);
    hear(&mut scanner, "NOOP\r\nSTARTTLS\r\n");
    say(&mut scanner, "250 ok\r\n");
    assert_eq!(scanner.mode, MODE_PENDING);
    say(&mut scanner, "220 go\r\n");
    assert_eq!(scanner.mode, MODE_OPAQUE);
    let mut scanner = Scanner::new(MODE_COMMAND);
    hear(&mut scanner, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    say(&mut scanner, "250 ok\r\n250 ok\r\n");
    assert_eq!(scanner.mode, MODE_PENDING);
    say(&mut scanner, "354 go\r\n");
    assert_eq!(scanner.mode, MODE_DATA);
}

#[test]
fn of_a_session_that_had_begun_only_codes_until_the_server_waits() {
    let mut scanner = Scanner::new(MODE_UNKNOWN);
    assert_eq!(say(&mut scanner, "500 hunter2\r\n"), "500 .......\r\n");
    assert_eq!(scanner.mode, MODE_COMMAND);
    scanner.waited();
    hear(&mut scanner, "NOOP\r\n");
    assert_eq!(say(&mut scanner, "250 ok\r\n"), "250 ok\r\n");
}

#[test]
fn what_is_no_reply_is_not_kept() {
    let mut scanner = Scanner::new(MODE_COMMAND);
    assert_eq!(say(&mut scanner, "HTTP/1.1 200 OK\r\nX: y\r\n25x z\r\n250-a\r\n250 b\r\n"), "...............\r\n....\r\n25...\r\n250-a\r\n250 b\r\n");
}

#[test]
fn the_final_dot_over_reads() {
    let feed = |reads: &[&str]| {
        let mut scanner = Scanner::new(MODE_DATA);
        scanner.tail = u32::from(b'\n');
        reads
            .iter()
            .map(|read| {
                let last = read.bytes().rev().take(4).enumerate().fold(0, |last, (i, byte)| last | u32::from(byte) << (8 * i));
                scanner.data(last, read.len() as u64)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(feed(&["hello\r\n.\r\n"]), [true]);
    assert_eq!(feed(&[".\r\n"]), [true]);
    assert_eq!(feed(&["x\r\n", ".", "\r", "\n"]), [false, false, false, true]);
    assert_eq!(feed(&["x\n.\n"]), [true]);
    assert_eq!(feed(&["x.\r\n"]), [false]);
    assert_eq!(feed(&["x\r\n..\r\n"]), [false]);
}
