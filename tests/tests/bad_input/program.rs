//! The program as it is run, and how it ended.

use crate::LIMIT;
use lab::Lab;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    pub fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("standard output is UTF-8")
    }

    /// One sentence on standard error with all the parts, nothing else, and this exit code.
    #[track_caller]
    pub fn is_refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{}{}", self.stderr, String::from_utf8_lossy(&self.stdout));
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert!(lines.len() == 1 && self.stderr.starts_with("mta-trace: "), "not one sentence:\n{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is missing in: {}", self.stderr);
        }
        assert!(self.stdout.is_empty(), "nothing is printed: {}", String::from_utf8_lossy(&self.stdout));
    }

    #[track_caller]
    pub fn is_done(&self) -> &Self {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

pub fn binary() -> PathBuf {
    lab::run::tracer_path().expect("the tracer is built")
}

pub fn mta_trace(args: &[&str]) -> Ended {
    run(Command::new(binary()).args(args))
}

pub fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().expect("it can be run");
    Ended { status: output.status, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Runs a shell script as the first process of a mount namespace of its own, with the binary and its arguments as `"$@"`.
pub fn in_mounts(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(binary()).args(args).stdin(Stdio::null());
    command
}

/// Runs the work in a thread that has entered the network namespace of a process; what it starts is there too.
pub fn inside<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("namespace");
    let enter = || {
        use std::os::fd::AsFd as _;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).expect("enter it");
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().expect("no panic"))
}

/// A running tracer, ready.
pub struct Tracer {
    pub child: Child,
    dir: PathBuf,
    lines: Receiver<String>,
}

impl Tracer {
    pub fn attach(lab: &Lab, name: &str, args: &[&str]) -> Self {
        let pid = lab.daemon_pid().to_string();
        let all: Vec<&str> = ["attach", "-p", &pid].into_iter().chain(args.iter().copied()).collect();
        Self::start(Command::new(binary()).args(all), &lab.dir().join(name))
    }

    /// Standard output and error go to files, so that a full pipe can hold nobody up.
    pub fn start(command: &mut Command, dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("folder");
        let stdout = File::create(dir.join("stdout")).expect("stdout");
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().expect("it can be run");
        let (sender, lines) = channel();
        let (stderr, mut copy) = (child.stderr.take().expect("stderr"), File::create(dir.join("stderr")).expect("stderr"));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = writeln!(copy, "{line}");
                let _ = sender.send(line);
            }
        });
        let tracer = Self { child, dir: dir.to_owned(), lines };
        tracer.wait_for("ready");
        tracer
    }

    /// Waits for a line on standard error.
    pub fn wait_for(&self, part: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no `{part}`: {}", fs::read_to_string(self.dir.join("stderr")).unwrap_or_default())
                }
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("pid");
        rustix::process::kill_process(pid, signal).expect("signal");
    }

    pub fn wait(mut self) -> Ended {
        let end = Instant::now() + LIMIT;
        while self.child.try_wait().expect("wait").is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let is_late = self.child.try_wait().expect("wait").is_none();
        if is_late {
            self.child.kill().expect("kill");
        }
        let status = self.child.wait().expect("wait");
        // The thread that copies ends when the pipe does.
        while self.lines.recv().is_ok() {}
        let stderr = fs::read_to_string(self.dir.join("stderr")).expect("stderr");
        assert!(!is_late, "it did not end: {stderr}");
        Ended { status, stdout: fs::read(self.dir.join("stdout")).expect("stdout"), stderr }
    }

    pub fn interrupt(self) -> Ended {
        self.signal(rustix::process::Signal::INT);
        self.wait()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // After `wait` both say that there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
