//! The program as it is run, and how it ended.

use crate::LIMIT;
use lab::{Lab, tracer::READY};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
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

/// Runs it to its end, which must come by itself.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    lab::tracer::run(command, LIMIT).expect("it ends").into()
}

/// Runs it where no mail server of the machine can be met, in network and process namespaces of its own, and for a second at most.
#[track_caller]
pub fn alone(args: &[&str]) -> Ended {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--mount-proc", "--fork", "--kill-child"]).arg(binary()).args(args).args(["--duration", "1s"]);
    run(&mut command)
}

/// Ids of the eBPF programs that the descriptors of a process hold.
pub fn programs_of(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")).map(|id| id.trim().to_owned())).collect()
}

impl From<lab::tracer::Ended> for Ended {
    fn from(ended: lab::tracer::Ended) -> Self {
        Self { status: ended.status, stdout: ended.stdout, stderr: ended.stderr }
    }
}

/// Runs a shell script as the first process of a mount namespace of its own, with the binary and its arguments as `"$@"`.
pub fn in_mounts(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(binary()).args(args);
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
pub struct Tracer(lab::tracer::Tracer);

impl Tracer {
    pub fn attach(lab: &Lab, name: &str, args: &[&str]) -> Self {
        let pid = lab.daemon_pid().to_string();
        let all: Vec<&str> = ["attach", "-p", &pid].into_iter().chain(args.iter().copied()).collect();
        Self::start(Command::new(binary()).args(all), &lab.dir().join(name))
    }

    #[track_caller]
    pub fn start(command: &mut Command, dir: &Path) -> Self {
        let tracer = lab::tracer::Tracer::start_in(command, dir).expect("it can be run");
        tracer.wait_for(READY, LIMIT).expect("it gets ready");
        Self(tracer)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        self.0.signal(signal).expect("signal");
    }

    #[track_caller]
    pub fn wait(self) -> Ended {
        self.0.wait(LIMIT).expect("it ends").into()
    }

    #[track_caller]
    pub fn interrupt(self) -> Ended {
        self.0.interrupt(LIMIT).expect("it ends").into()
    }
}
