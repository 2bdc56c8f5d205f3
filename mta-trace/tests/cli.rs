//! The program from outside: help, wrong usage, logs of every kind, closed pipes. Needs no root and no kernel.

use mta_trace::event::{Args, Counters, End, Exit, Header, LOG_SCHEMA, Record, SocketId, Sys, Target};
use mta_trace_common::syscalls::Call;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mta-trace"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// A file that is gone when the test is over.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("mta-trace-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("temporary file");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn header() -> Record {
    Record::Header(Box::new(Header {
        schema: LOG_SCHEMA.to_owned(),
        tool: "0.1.0".to_owned(),
        kernel: "6.1.0".to_owned(),
        arch: "x86_64".to_owned(),
        hooks: "tracepoint".to_owned(),
        boot_to_wall_ns: 1_774_068_000_000_000_000,
        attach_ns: [0, 1],
        target: Target { pid: 10, exe: "/usr/sbin/sendmail".to_owned(), mta: "sendmail".to_owned(), mta_version: None, listening: Vec::new() },
        client: vec!["192.0.2.7".to_owned()],
        min_wait_ns: 1_000_000,
        existing: false,
        no_chains: false,
    }))
}

fn accept(t: u64, peer: &str, matched: bool) -> Record {
    let Ok(peer) = peer.parse();
    let Ok(local) = "10.99.0.2:25".parse();
    Record::Sys(Box::new(Sys {
        t,
        pid: 10,
        tid: 10,
        args: Args { fd: Some(3), ..Args::default() },
        socket: Some(SocketId { inode: 7, proto: mta_trace::event::Proto::Tcp, local: Some(local), peer: None, peer_inode: None }),
        peer: Some(peer),
        matched: Some(matched),
        ..Sys::bare(Call::Accept, 5)
    }))
}

fn end(t: u64) -> Record {
    Record::End(End { t, reason: "signal".to_owned() })
}

fn log(records: &[Record]) -> String {
    records.iter().map(|record| mta_trace::log::encode(record) + "\n").collect()
}

#[test]
fn help_goes_to_standard_output() {
    for args in [
        &["--help"][..],
        &["attach", "--help"],
        &["report", "--help"],
        &["export", "--help"],
        &["diff", "--help"],
        &["doctor", "--help"],
        &["probe", "--help"],
    ] {
        let output = run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}");
        assert!(text(&output.stdout).contains("Usage: mta-trace"), "{args:?}");
    }
    let help = text(&run(&["--help"]).stdout);
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
}

#[test]
fn help_is_short_or_long_and_the_long_one_has_examples() {
    for sub in [None, Some("attach"), Some("probe"), Some("report"), Some("export"), Some("diff"), Some("doctor")] {
        let help = |option| text(&run(&sub.into_iter().chain([option]).collect::<Vec<_>>()).stdout);
        let (short, long) = (help("-h"), help("--help"));
        assert!(long.contains("Examples:\n  ") && !short.contains("Examples:\n"), "{sub:?}: {short}");
        assert!(short.lines().count() < long.lines().count(), "{sub:?}");
        assert!(short.lines().chain(long.lines()).all(|line| line.chars().count() <= 80), "{sub:?}: {long}");
    }
}

#[test]
fn what_was_meant_is_suggested() {
    for (args, meant) in [
        (&["atach"][..], "'attach'"),
        (&["raport", "x"], "'report'"),
        (&["attach", "--clinet", "192.0.2.7"], "'--client'"),
        (&["attach", "--session=1"], "'--sessions'"),
        (&["attach", "--view", "starce"], "'strace'"),
        (&["report", "x", "--fromat", "json"], "'--format'"),
        (&["report", "x", "--format", "jsno"], "'json'"),
        (&["probe", "--to", "127.0.0.1", "--start-tls"], "'--starttls'"),
        (&["diff", "a", "b", "--output", "x"], "--help"),
        (&["doctor", "--program"], "'--programs'"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(meant), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_do() {
    for (args, part) in [
        (&[][..], "Usage"),
        (&["trace"], "unrecognized subcommand"),
        (&["probe"], "--to"),
        (&["probe", "--to", "127.0.0.1"], "--from is missing"),
        (&["probe", "--to", "127.0.0.1", "--from", "a@b.c"], "--rcpt is missing"),
        (&["probe", "--to", "127.0.0.1:x", "--quit-after", "helo"], "[::1]:25"),
        (&["probe", "--to", "127.0.0.1", "--from", "a b"], "cannot stand in a command"),
        (&["probe", "--to", "127.0.0.1", "--helo", "a\r\nQUIT"], "cannot stand behind EHLO"),
        (&["probe", "--to", "127.0.0.1", "--quit-after", "data"], "is no stage of a session"),
        (&["probe", "--to", "127.0.0.1", "--quit-after", "tls"], "--starttls"),
        (&["probe", "--to", "127.0.0.1", "--quit-after", "auth"], "--auth"),
        (&["probe", "--to", "127.0.0.1", "--auth", "u", "--quit-after", "auth"], "--password-file"),
        (&["probe", "--to", "127.0.0.1", "--tls-verify", "--quit-after", "helo"], "--starttls"),
        (&["probe", "--to", "192.0.2.1", "--auth", "u", "--password-file", "-", "--quit-after", "auth"], "--auth-without-tls"),
        (&["probe", "--to", "127.0.0.1", "--quit-after", "helo", "--no-trace", "-p", "1"], "cannot be used with"),
        (&["probe", "--to", "127.0.0.1", "--quit-after", "helo", "-o", "-"], "attach -o -"),
        (&["probe", "--to", "127.0.0.1", "--quit-after", "helo", "--timeout", "5"], "with a unit"),
        (&["attach", "-p", "sendmail"], "is no process id"),
        (&["attach", "-p", "0"], "is no process id"),
        (&["attach", "-p", "1", "--port", "25"], "cannot be used with"),
        (&["attach", "--port", "0"], "0 is not in"),
        (&["attach", "--port", "65536"], "65536"),
        (&["attach", "--client", "10.0.0.1/8"], "10.0.0.0/8"),
        (&["attach", "--client", "mail.example.com"], "no IPv4 or IPv6 address"),
        (&["attach", "--sessions", "0"], "0 is not in"),
        (&["attach", "--duration", "5"], "with a unit"),
        (&["attach", "--min-wait", "-1ms"], "unexpected argument"),
        (&["attach", "--view", "html"], "possible values"),
        (&["attach", "--force"], "--output"),
        (&["attach", "-o", "-", "--view", "timeline"], "--view none"),
        (&["report"], "<LOG>"),
        (&["report", "x", "--format", "pdf"], "possible values"),
        (&["report", "x", "y"], "unexpected argument"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn logs_that_are_none_exit_with_1_and_one_sentence() {
    let random: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let foreign = log(&[header()]).replace("mta-trace.log/1", "mta-trace.log/2");
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty", b"", "is empty"),
        ("random", &random, "is no log of mta-trace"),
        ("zstd", b"\x28\xb5\x2f\xfdrubbish", "cannot be read"),
        ("foreign", foreign.as_bytes(), "mta-trace.log/2"),
        ("json", b"{\"k\":\"sys\"}\n", "does not begin with a header"),
        ("escape", b"\x1b]0;owned\x07\n", "is no log of mta-trace"),
    ];
    for (name, content, part) in cases {
        let file = File::new(name, content);
        let output = run(&["report", file.path()]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {message}");
        assert!(output.stdout.is_empty(), "{name}");
        assert!(message.contains(part) && message.lines().count() == 1, "{name}: {message}");
        assert!(!message.contains('\u{1b}'), "{name}");
    }
    let missing = run(&["report", "/nonexistent/log"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nonexistent/log: cannot be opened"));
}

#[test]
fn a_cut_log_is_used_and_said_to_be_cut() {
    let whole = log(&[header(), accept(5, "192.0.2.9:4000", false), end(9)]);
    for cut in [1, 20] {
        let file = File::new(&format!("cut{cut}"), &whole.as_bytes()[..whole.len() - cut]);
        let output = run(&["report", file.path()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        if cut > 1 {
            assert!(text(&output.stdout).starts_with("note: the log has no end"), "{}", text(&output.stdout));
        }
    }
}

#[test]
fn who_was_accepted_instead() {
    let records = [header(), accept(5, "192.0.2.9:4000", false), accept(6, "192.0.2.9:4001", false), accept(7, "192.0.2.8:1", false), end(9)];
    let file = File::new("others", log(&records).as_bytes());
    let output = run(&["report", file.path()]);
    let shown = text(&output.stdout);
    assert!(shown.contains("0 sessions from 192.0.2.7; 3 others were accepted: 192.0.2.9 (2), 192.0.2.8 (1)"), "{shown}");
}

#[test]
fn hostile_lines_are_counted_and_never_obeyed() {
    let mut lines = log(&[header()]).into_bytes();
    lines.extend(b"\x1b]0;owned\x07\n\xff\xfe\x00\n{\"k\":\"sys\"}\n[]\n{\"k\":\"from-the-future\",\"t\":1}\n");
    lines.extend(br#"{"k":"sys","t":1,"pid":1,"tid":1,"call":"poll","args":{"fds":"x"},"ret":0}"#);
    lines.push(b'\n');
    lines.extend(vec![b'a'; 3 << 20]);
    lines.push(b'\n');
    lines.extend(log(&[accept(5, "\u{1b}[2J\u{202e}:1", true), end(9)]).into_bytes());
    let file = File::new("hostile", &lines);
    for format in ["text", "json"] {
        let output = run(&["report", file.path(), "--format", format]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for stream in [&output.stdout, &output.stderr] {
            let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text(stream).chars().any(hostile), "{format}: {:?}", text(stream));
        }
        if format == "text" {
            assert!(text(&output.stdout).contains("could not be read: passed over"), "{}", text(&output.stdout));
            assert!(text(&output.stdout).contains("1 record is of a kind that this version does not know"), "{}", text(&output.stdout));
        }
    }
}

#[test]
fn json_is_the_report() {
    let exit = Record::Exit(Exit { t: 8, pid: 11, tid: 11, code: 0, signal: None, call: None, since: None, at: Counters::default() });
    let file = File::new("json", log(&[header(), exit, end(9)]).as_bytes());
    let output = run(&["report", file.path(), "--format", "json"]);
    let report: mta_trace::report::Report = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report.schema, "mta-trace.report/1");
    assert!(output.stderr.is_empty());
}

#[test]
fn the_report_file_must_not_exist() {
    let file = File::new("in", log(&[header(), end(9)]).as_bytes());
    for (format, begin, end) in [("text", "mta-trace 0.1.0", "\n"), ("json", "{\n", "}\n"), ("html", "<!DOCTYPE html>\n", "</html>\n")] {
        let target = File::new("out", b"mine");
        let args = ["report", file.path(), "--format", format];
        let output = run(&[&args[..], &["-o", target.path()]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("exists already"));
        assert_eq!(std::fs::read(&target.0).expect("still there"), b"mine");
        std::fs::remove_file(&target.0).expect("removed");
        assert!(run(&[&args[..], &["-o", target.path()]].concat()).status.success());
        let written = std::fs::read_to_string(&target.0).expect("written");
        assert!(written.starts_with(begin) && written.ends_with(end), "{written}");
        assert_eq!(text(&run(&args).stdout), written, "the same without -o");
    }
}

#[test]
fn a_full_log_of_an_earlier_run_is_not_written_over() {
    let full = File::new("flight.jsonl.1", b"mine");
    let log = full.path().trim_end_matches(".1");
    let output = run(&["attach", "-p", "1", "-o", log, "--log-max-size", "1M"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("exists already and would be written over"), "{}", text(&output.stderr));
    assert!(!std::fs::exists(log).expect("asked") && std::fs::read(full.path()).expect("still there") == b"mine");
}

#[test]
fn two_logs_are_compared_whatever_the_difference() {
    let replay = |name: &str| format!("{}/../tests/replay/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let (slow, fast) = (replay("ident-slow"), replay("fast"));
    let output = run(&["diff", &slow, &fast]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let said = text(&output.stdout);
    assert!(said.contains("went     CONNECT ident 10.99.0.1:113: 1.5") && said.contains("verdict: faster:"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(text(&run(&["diff", &slow, &slow]).stdout).contains("verdict: no difference that counts"));
    let empty = File::new("nobody", log(&[header(), end(9)]).as_bytes());
    assert!(text(&run(&["diff", empty.path(), &fast]).stdout).contains("the first trace has no session"));
    assert_eq!(run(&["diff", &fast, "/no/such.jsonl"]).status.code(), Some(1));
    assert_eq!(run(&["diff", &fast]).status.code(), Some(2));
}

#[test]
fn standard_input_is_a_log_too() {
    let mut child = program().args(["report", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(log(&[header(), end(9)]).as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success() && text(&output.stdout).contains("0 sessions"));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let file = File::new("pipe", log(&[header(), end(9)]).as_bytes());
    for args in [
        vec!["report", file.path()],
        vec!["report", file.path(), "--format", "json"],
        vec!["report", file.path(), "--format", "html"],
        vec!["doctor"],
        vec!["--help"],
    ] {
        let mut child = program().args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        drop(child.stdout.take());
        let mut message = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut message).expect("read");
        let status = child.wait().expect("ends");
        assert!(status.success() || args == ["doctor"], "{args:?}: {status} {message}");
        assert!(!message.contains("panicked"), "{args:?}: {message}");
    }
}

#[test]
fn nothing_is_left_behind_when_a_trace_cannot_begin() {
    let log = File::new("attach", b"");
    std::fs::remove_file(&log.0).expect("removed");
    let output = run(&["attach", "-p", "4194304", "-o", log.path()]);
    assert!(matches!(output.status.code(), Some(1 | 3)), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    assert!(!log.0.exists());
}

#[test]
fn a_log_is_not_overwritten() {
    let log = File::new("keep", b"mine");
    let output = run(&["attach", "-p", "4194304", "-o", log.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--force"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(&log.0).expect("still there"), b"mine");
}
