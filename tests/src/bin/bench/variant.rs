//! Who looks on while the messages pass: each tracer's command line, and the word by which it says that it is attached.

use anyhow::Result;
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Who looks on while the messages pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    Untraced,
    /// Once more, later in the round: the two together are what the others are compared with, and how they differ is noise.
    Again,
    Traced,
    Nobody,
    Strace,
    Bpftrace,
}

impl Variant {
    pub fn title(self) -> &'static str {
        match self {
            Self::Untraced => "no tracer",
            Self::Again => "no tracer, once more, to the first time (noise)",
            Self::Traced => "mta-trace, every session into a log",
            Self::Nobody => "mta-trace, a `--client` that matches nobody",
            Self::Strace => "`strace -f -ttt -T`",
            Self::Bpftrace => "bpftrace, the same kind of calls",
        }
    }

    /// The short form leaves out the tracers that are not ours.
    pub fn all(is_short: bool) -> Vec<Self> {
        let mut all = vec![Self::Untraced, Self::Traced, Self::Nobody, Self::Again];
        if is_short {
            return all;
        }
        all.push(Self::Strace);
        let is_installed = std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("bpftrace").is_file()));
        if is_installed {
            all.push(Self::Bpftrace);
        } else {
            eprintln!("bench: no bpftrace here: its line is left out");
        }
        all
    }

    /// The tracer, and the word by which it says that it is attached.
    pub fn command(self, daemon: u32, output: &Path) -> Result<Option<(Command, &'static str)>> {
        let pid = daemon.to_string();
        let mut command;
        let word = match self {
            Self::Untraced | Self::Again => return Ok(None),
            Self::Traced | Self::Nobody => {
                command = Command::new(lab::run::tracer_path()?);
                command.args(["attach", "-p", &pid, "--view", "none", "--force", "-o"]).arg(output);
                if self == Self::Nobody {
                    command.args(["--client", "192.0.2.1"]);
                }
                "ready"
            }
            Self::Strace => {
                command = Command::new("strace");
                command.args(["-f", "-ttt", "-T", "-o", "/dev/null", "-p", &pid]);
                "attached"
            }
            Self::Bpftrace => {
                command = with_tracefs("bpftrace");
                // It is allowed to run a command: the last probe's tells us that all are attached.
                command.args(["--unsafe", "-e", &bpftrace_script(daemon), "-o"]).arg(output);
                "ready"
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        lab::netns::die_with_parent(&mut command);
        Ok(Some((command, word)))
    }
}

/// mta-trace attached to the daemon with this back end, for clients that do not exist.
pub fn watcher(daemon: u32, output: &Path, hooks: &str) -> Result<Command> {
    let mut command = Command::new(lab::run::tracer_path()?);
    command.args(["attach", "-p", &daemon.to_string(), "--view", "none", "--client", "192.0.2.1", "--hooks", hooks, "--force", "-o"]).arg(output);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    lab::netns::die_with_parent(&mut command);
    Ok(command)
}

/// A command that finds the tracepoints: where tracefs is not mounted, it gets a private mount.
fn with_tracefs(program: &str) -> Command {
    const SCRIPT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
    if Path::new("/sys/kernel/tracing/events").is_dir() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh", program]);
    command
}

/// What somebody would write by hand: the calls that wait, of the daemon's descendants, with result and duration.
fn bpftrace_script(daemon: u32) -> String {
    const CALLS: [&str; 6] = ["connect", "sendto", "recvfrom", "poll", "read", "write"];
    let probes = |edge| CALLS.map(|call| format!("tracepoint:syscalls:sys_{edge}_{call}")).join(",\n");
    format!(
        "tracepoint:sched:sched_process_fork /args->parent_pid == {daemon} || @of[args->parent_pid]/ {{ @of[args->child_pid] = 1; }}\n\
         tracepoint:sched:sched_process_exit /@of[tid]/ {{ delete(@of[tid]); }}\n\
         {} /@of[tid]/ {{ @since[tid] = nsecs; }}\n\
         {} /@since[tid]/ {{ printf(\"%llu %d %s %d %llu\\n\", nsecs, tid, probe, args->ret, nsecs - @since[tid]); delete(@since[tid]); }}\n\
         interval:ms:20 /!@ready/ {{ system(\"echo ready >&2\"); @ready = 1; }}\n\
         END {{ clear(@ready); clear(@of); clear(@since); }}",
        probes("enter"),
        probes("exit"),
    )
}
