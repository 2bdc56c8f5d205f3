//! Loss is exact: of a server whose every reported call is counted by itself, what was received and what was counted as lost are all of them.
//!
//! The server is this program: threads that each accept a connection and then call `connect` so many times, which is always reported. Of each
//! thread that makes one record of the accept, one of the backlog, one for each call, and one of its end; and one of the end of the main thread. All else
//! that it does is reported only where it is slow, and nothing is slow enough.

use crate::world::{Tracer, folder};
use lab::Stop;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use std::{
    io::{BufRead as _, BufReader, Lines, Read as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Mutex,
};

/// How many calls each thread of the server makes.
const CALLS: &str = "MTA_TRACE_TEST_CALLS";
/// More than there are processors here, so that some wait for others in the middle of it.
const THREADS: usize = 4;

/// Whether this process is the server, and no test.
pub fn is_helper() -> bool {
    std::env::var_os(CALLS).is_some()
}

/// The server: says its port, serves its threads' connections, says that it is done, and ends with its standard input.
pub fn helper() -> ExitCode {
    let calls: usize = std::env::var(CALLS).unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    // Whoever is in `accept` when tracing begins may leave it unseen: they wait before it, one after another.
    let turn = Mutex::new(());
    let (stop, target) = (Stop::new().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let stream = {
                    let _turn = turn.lock().unwrap();
                    assert!(stop.wait_readable(&listener));
                    listener.accept().unwrap().0
                };
                for _ in 0..calls {
                    socket.connect(target).unwrap();
                }
                // The end of the process closes them: a call of `close` would be one more record.
                std::mem::forget((socket, stream));
            });
        }
    });
    println!("done");
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
    calls: usize,
}

impl Server {
    fn start(calls: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        // A test that fails does not end it.
        lab::netns::die_with_parent(&mut command);
        let mut child = command.env(CALLS, calls.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap();
        Self { child, lines, address, calls }
    }

    /// Lets a thread begin.
    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    fn wait_done(&mut self) {
        assert_eq!(self.lines.next().unwrap().unwrap(), "done");
    }

    /// Ends it; gives how many records its threads have made.
    fn end(mut self) -> u64 {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        let records = THREADS * (1 + 1 + self.calls + 1) + 1;
        records as u64
    }
}

/// Stops the tracer, and waits until it is.
fn stop(tracer: &Tracer) {
    tracer.process.signal(Signal::STOP).unwrap();
    let wanted = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::PidFd(tracer.process.pidfd().as_fd()), wanted).unwrap().expect("it has stopped");
}

/// When the reader is stopped, by threads of the server that have begun: none before the first and all after the last is never.
struct Stopped {
    from: usize,
    to: usize,
}

const NEVER: Stopped = Stopped { from: THREADS, to: THREADS };

/// Runs the server with a tracer; gives what was received and what was lost, which together is what the server did.
#[track_caller]
fn count(name: &str, ring: &str, calls: usize, stopped: &Stopped) -> [u64; 2] {
    let mut server = Server::start(calls);
    let args = ["--view", "none", "--min-wait", "1h", "--ring-size", ring];
    let tracer = Tracer::attach(server.child.id(), &folder(name), &args);
    let mut connections = Vec::new();
    for thread in 0..THREADS {
        if thread == stopped.from {
            stop(&tracer);
        }
        if thread == stopped.to {
            tracer.process.signal(Signal::CONT).unwrap();
        }
        connections.push(server.connect());
    }
    server.wait_done();
    if stopped.from < THREADS && stopped.to >= THREADS {
        tracer.process.signal(Signal::CONT).unwrap();
    }
    let made = server.end();
    drop(connections);
    let (records, report) = tracer.wait();
    let is_event = |kind: &str| !matches!(kind, "header" | "seed.proc" | "seed.fd" | "seed.file" | "daemon" | "loss" | "clock" | "end");
    let received = records.iter().filter(|record| is_event(record["k"].as_str().unwrap())).count() as u64;
    let loss = records.iter().rfind(|record| record["k"] == "loss");
    let lost = |cause: &str| loss.map_or(0, |loss| loss[cause].as_u64().unwrap());
    assert_eq!(received + lost("ring"), made, "{name}: {received} received, {} lost, {made} made", lost("ring"));
    assert_eq!(lost("tables"), 0, "{name}");
    assert_eq!(report["log"]["events"], received, "{name}: the report counts what was received");
    assert_eq!(report["log"]["lost"], lost("ring"), "{name}: the report counts what was lost");
    for session in report["sessions"].as_array().unwrap() {
        assert!(lost("ring") == 0 || session["complete"] == false, "{name}: {} is complete although records of it are lost", session["id"]);
    }
    eprintln!("{name}: {made} made, {received} received, {} lost", lost("ring"));
    [received, lost("ring")]
}

pub fn nothing_is_lost_in_a_large_ring() {
    // 352 bytes each: all of them at once fit.
    let [received, lost] = count("counted-large", "16M", 5_000, &NEVER);
    assert!(lost == 0 && received > 20_000, "{received} received, {lost} lost");
}

pub fn a_ring_of_one_page() {
    let [_, lost] = count("counted-page", "4K", 50_000, &NEVER);
    assert!(lost > 0, "nothing was lost: the test proves nothing");
}

pub fn a_ring_of_one_page_and_a_stopped_reader() {
    let [received, lost] = count("counted-stopped", "4K", 50_000, &Stopped { from: 0, to: THREADS });
    // A page, and what came when the reader went on: ends of threads.
    assert!(received < 50 && lost > 199_000, "{received} received, {lost} lost");
}

pub fn a_reader_that_is_stopped_for_a_while() {
    let [received, lost] = count("counted-while", "64K", 50_000, &Stopped { from: 1, to: 3 });
    assert!(received > 0 && lost > 0, "{received} received, {lost} lost");
}
