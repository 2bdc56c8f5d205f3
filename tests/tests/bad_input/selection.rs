//! Wrong selections: whom to trace.

use crate::{
    LIMIT,
    program::{alone, binary, mta_trace, programs_of},
    world::{folder, lab},
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

tests! {
    root: a_pid_that_does_not_exist, a_kernel_thread, a_process_that_is_no_mail_server, a_server_that_is_no_mail_server_is_traced_with_a_warning, a_process_that_has_ended_but_was_not_waited_for, a_process_that_ends_between_look_up_and_attach, a_port_on_which_nobody_listens, a_mail_server_that_is_not_known, too_many_networks;
    anyone: a_pid_that_is_no_number, a_bad_network
}

fn a_pid_that_does_not_exist() {
    // The largest number that may be given, one above the kernel's own limit: nobody can have it.
    mta_trace(&["attach", "-p", "4194304"]).is_refused(1, &["there is no process 4194304", "ps ax"]);
}

fn a_pid_that_is_no_number() {
    for text in ["0", "-1", "x", "4194305", "1 2"] {
        let ended = mta_trace(&["attach", &format!("--pid={text}")]);
        assert_eq!(ended.status.code(), Some(2), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains("is no process id") && ended.stderr.contains("pgrep"), "{}", ended.stderr);
    }
}

fn a_kernel_thread() {
    mta_trace(&["attach", "-p", "2"]).is_refused(1, &["process 2 is a kernel thread", "give the PID of the mail server"]);
}

fn a_process_that_is_no_mail_server() {
    let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
    let ended = mta_trace(&["attach", "-p", &sleep.id().to_string()]);
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    ended.is_refused(1, &["sleep) neither listens", "give the PID of the mail server's daemon"]);
}

fn a_process_that_has_ended_but_was_not_waited_for() {
    let mut gone = Command::new("true").spawn().unwrap();
    let pid = i32::try_from(gone.id()).ok().and_then(Pid::from_raw).unwrap();
    // It has ended, and stays a zombie.
    rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let ended = mta_trace(&["attach", "-p", &gone.id().to_string()]);
    gone.wait().unwrap();
    ended.is_refused(1, &[&gone.id().to_string(), "ended", "try again"]);
}

pub const LISTEN: &str = "MTA_TRACE_TEST_LISTEN";

/// Whether this process is what the next test starts, and no test.
pub fn is_helper() -> bool {
    std::env::var_os(LISTEN).is_some()
}

/// A process that listens until its standard input is closed.
pub fn helper_that_listens() -> ExitCode {
    let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    println!("listening");
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

/// A process that listens, and serves nobody; the command runs this program.
pub fn listener(command: &mut Command) -> Child {
    let mut server = command.env(LISTEN, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert!(BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "listening"));
    server
}

fn a_server_that_is_no_mail_server_is_traced_with_a_warning() {
    let mut server = listener(&mut Command::new(std::env::current_exe().unwrap()));
    let ended = mta_trace(&["attach", "-p", &server.id().to_string(), "--duration", "1s", "--view", "none"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ended.is_done().stderr.contains("is no mail server that is known by its name"), "{}", ended.stderr);
}

fn a_process_that_ends_between_look_up_and_attach() {
    let mut server = listener(&mut Command::new(std::env::current_exe().unwrap()));
    let (pid, dir) = (server.id().to_string(), folder("between"));
    let mut command = Command::new(binary());
    command.args(["attach", "-p", &pid, "--duration", "10s", "--view", "none"]);
    let tracer = lab::tracer::Tracer::start_in(&mut command, &dir).unwrap();
    // It looks the process up before it loads a program, and attaches after that. /proc tells of a program, but has no event for it.
    let end = Instant::now() + LIMIT;
    while programs_of(tracer.id()).is_empty() {
        assert!(Instant::now() < end, "no program was loaded");
        std::thread::sleep(Duration::from_millis(1));
    }
    tracer.signal(Signal::STOP).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(fs::read_to_string(dir.join("tracer.err")).unwrap(), "", "it was not ready yet");
    tracer.signal(Signal::CONT).unwrap();
    crate::program::Ended::from(tracer.wait(LIMIT).unwrap()).is_refused(1, &[&pid, "ended", "try again"]);
}

fn a_port_on_which_nobody_listens() {
    alone(&["attach", "--port", "9"]).is_refused(1, &["nobody listens on port 9", "start the mail server", "--port", "-p"]);
}

fn a_mail_server_that_is_not_known() {
    alone(&["attach", "--mta", "qmail"]).is_refused(1, &["`qmail` is no mail server that is known", "sendmail, postfix"]);
    alone(&["attach", "--mta", "exim"]).is_refused(1, &["no running process is exim", "-p PID or --port"]);
}

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

fn too_many_networks() {
    let lab = lab("too-many-networks");
    let clients: Vec<String> = (1..=17).map(|n| format!("--client=192.0.2.{n}")).collect();
    let pid = lab.daemon_pid().to_string();
    let args: Vec<&str> = ["attach", "-p", &pid].into_iter().chain(clients.iter().map(String::as_str)).collect();
    mta_trace(&args).is_refused(1, &["17 --client filters", "at most 16", "shorter prefix"]);
}
