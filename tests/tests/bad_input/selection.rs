//! Wrong selections: whom to trace.

use crate::{
    program::mta_trace,
    world::{is_able, lab},
};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::Duration,
};

#[test]
fn a_pid_that_does_not_exist() {
    // Above the kernel's own limit nobody can be; the largest number that may be given is free unless the machine is very busy.
    mta_trace(&["attach", "-p", "4194304"]).is_refused(if rustix::process::geteuid().is_root() { 1 } else { 3 }, &["mta-trace: "]);
    if is_able() {
        mta_trace(&["attach", "-p", "4194304"]).is_refused(1, &["there is no process 4194304", "ps ax"]);
    }
}

#[test]
fn a_pid_that_is_no_number() {
    for text in ["0", "-1", "x", "4194305", "1 2"] {
        let ended = mta_trace(&["attach", &format!("--pid={text}")]);
        assert_eq!(ended.status.code(), Some(2), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains("is no process id") && ended.stderr.contains("pgrep"), "{}", ended.stderr);
    }
}

#[test]
fn a_kernel_thread() {
    if is_able() {
        mta_trace(&["attach", "-p", "2"]).is_refused(1, &["process 2 is a kernel thread", "give the PID of the mail server"]);
    }
}

#[test]
fn a_process_that_is_no_mail_server() {
    if !is_able() {
        return;
    }
    let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
    let ended = mta_trace(&["attach", "-p", &sleep.id().to_string()]);
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    ended.is_refused(1, &["sleep) neither listens", "give the PID of the mail server's daemon"]);
}

#[test]
fn a_process_that_has_ended_but_was_not_waited_for() {
    if !is_able() {
        return;
    }
    let mut gone = Command::new("true").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let ended = mta_trace(&["attach", "-p", &gone.id().to_string()]);
    gone.wait().unwrap();
    ended.is_refused(1, &[&gone.id().to_string(), "ended", "try again"]);
}

const LISTEN: &str = "MTA_TRACE_TEST_LISTEN";

/// Not a test: what the next one starts, a process that listens until its standard input is closed.
#[test]
fn helper_that_listens() {
    if std::env::var_os(LISTEN).is_some() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        println!("listening");
        let _ = std::io::stdin().read(&mut [0]);
    }
}

#[test]
fn a_process_that_ends_between_look_up_and_attach() {
    if !is_able() {
        return;
    }
    // Ends at another moment each time; whichever it is, it is said.
    for delay_ms in [0, 2, 5, 10, 20, 40, 80, 160] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "selection::helper_that_listens", "--nocapture"]).env(LISTEN, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let listens = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line.contains("listening"));
        assert!(listens);
        let pid = server.id().to_string();
        let tracer = std::thread::spawn(move || mta_trace(&["attach", "-p", &pid, "--duration", "10s", "--view", "none"]));
        std::thread::sleep(Duration::from_millis(delay_ms));
        server.kill().unwrap();
        server.wait().unwrap();
        let ended = tracer.join().unwrap();
        assert!(matches!(ended.status.code(), Some(0 | 1)) && !ended.stderr.contains("panicked"), "{delay_ms} ms: {}", ended.stderr);
        assert!(ended.stderr.contains("there is no process") || ended.stderr.contains("ended") || ended.stderr.contains("ready"), "{}", ended.stderr);
    }
}

#[test]
fn a_port_on_which_nobody_listens() {
    if is_able() {
        mta_trace(&["attach", "--port", "9"]).is_refused(1, &["nobody listens on port 9", "start the mail server", "--port", "-p"]);
    }
}

#[test]
fn a_mail_server_that_is_not_known() {
    if is_able() {
        mta_trace(&["attach", "--mta", "qmail"]).is_refused(1, &["`qmail` is no mail server that is known", "sendmail, postfix"]);
        mta_trace(&["attach", "--mta", "exim"]).is_refused(1, &["no running process is exim", "-p PID or --port"]);
    }
}

#[test]
fn a_bad_network() {
    for (text, parts) in [
        ("10.0.0.0/33", "a number from 0 to 32"),
        ("10.0.0.1/8", "write 10.0.0.0/8 for the network or 10.0.0.1"),
        ("mail.example.com", "is no IPv4 or IPv6 address"),
        ("", "write 192.0.2.7"),
        ("\u{1b}[31m", "is no IPv4 or IPv6 address"),
    ] {
        let ended = mta_trace(&["attach", "--client", text]);
        assert_eq!(ended.status.code(), Some(2), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains(parts), "{text}: {}", ended.stderr);
        assert!(!ended.stderr.contains('\u{1b}'), "raw escape: {:?}", ended.stderr);
    }
}

#[test]
fn too_many_networks() {
    if !is_able() {
        return;
    }
    let lab = lab("too-many-networks");
    let clients: Vec<String> = (1..=17).map(|n| format!("--client=192.0.2.{n}")).collect();
    let pid = lab.daemon_pid().to_string();
    let args: Vec<&str> = ["attach", "-p", &pid].into_iter().chain(clients.iter().map(String::as_str)).collect();
    mta_trace(&args).is_refused(1, &["17 --client filters", "at most 16", "shorter prefix"]);
}
