//! Surroundings that lack something, and the doctor who says so.

use crate::{
    program::{Tracer, binary, in_mounts, mta_trace, run},
    selection::{LISTEN, listener},
    world::{lab, session},
};
use lab::run::copy_for_everybody;
use std::{fs, os::unix::process::CommandExt as _, process::Command};

tests! {
    root: no_permission, no_btf, btf_of_random_bytes, no_tracefs_and_no_right_to_mount_it, a_pid_namespace_of_its_own, a_mail_server_in_a_container, in_a_container_with_the_pids_of_the_host, the_doctor_tries_everything;
    anyone:
}

/// `nobody` of Debian.
const NOBODY: u32 = 65534;

fn no_permission() {
    let lab = lab("no-permission");
    let copy = copy_for_everybody(&binary(), "nobody").unwrap();
    let mut command = Command::new(&copy);
    let ended = run(command.args(["attach", "-p", &lab.daemon_pid().to_string()]).uid(NOBODY).gid(NOBODY).current_dir("/"));
    ended.is_refused(3, &["not permitted; run as root, or with CAP_BPF, CAP_PERFMON", "CAP_SYS_PTRACE"]);
    // With root's user id, but without the right to load programs.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin,-bpf,-perfmon", "--inh-caps", "-sys_admin,-bpf,-perfmon"]).arg(&copy);
    let ended = run(command.args(["attach", "-p", &lab.daemon_pid().to_string()]));
    ended.is_refused(3, &["not permitted; run as root, or with CAP_BPF, CAP_PERFMON"]);
    let mut command = Command::new(&copy);
    let ended = run(command.arg("doctor").uid(NOBODY).gid(NOBODY).current_dir("/"));
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    for part in ["MISSING", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "run as root"] {
        assert!(ended.out().contains(part), "{part} in {}", ended.out());
    }
    session(&lab);
    fs::remove_dir_all(copy.parent().unwrap()).unwrap();
}

const WITHOUT_BTF: &str = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";

fn no_btf() {
    let lab = lab("no-btf");
    let pid = lab.daemon_pid().to_string();
    run(&mut in_mounts(WITHOUT_BTF, &["attach", "-p", &pid])).is_refused(3, &["no BTF", "CONFIG_DEBUG_INFO_BTF"]);
    let ended = run(&mut in_mounts(WITHOUT_BTF, &["doctor"]));
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    assert!(ended.out().contains("MISSING  BTF") && ended.out().contains("CONFIG_DEBUG_INFO_BTF"), "{}", ended.out());
    session(&lab);
}

fn btf_of_random_bytes() {
    let lab = lab("random-btf");
    let script = "mount -t tmpfs none /sys/kernel/btf && head -c 100000 /dev/urandom > /sys/kernel/btf/vmlinux && exec \"$@\"";
    let ended = run(&mut in_mounts(script, &["attach", "-p", &lab.daemon_pid().to_string()]));
    ended.is_refused(3, &["/sys/kernel/btf/vmlinux cannot be understood", "uname -r"]);
}

/// Neither tracefs nor the right to mount one is needed.
fn no_tracefs_and_no_right_to_mount_it() {
    let lab = lab("no-tracefs");
    let script = "mount -t tmpfs none /sys/kernel/tracing && exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin \"$@\"";
    let pid = lab.daemon_pid().to_string();
    let mut command = in_mounts(script, &["attach", "-p", &pid, "--sessions", "1", "--view", "none"]);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    session(&lab);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("1 session"), "{}", ended.out());
}

/// There processes have other numbers than for the kernel; a listener of the test's own stands for a mail server.
fn a_pid_namespace_of_its_own() {
    // As its last command the shell would become the tracer, and the listener's standard input would be closed.
    let script = "coproc \"$0\"; read -u ${COPROC[0]} line; \"$1\" attach -p $COPROC_PID --view none --duration 1s; exit $?";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount-proc", "--fork", "--kill-child", "bash", "-c", script]);
    command.arg(std::env::current_exe().unwrap()).arg(binary()).env(LISTEN, "1");
    run(&mut command).is_refused(3, &["pid namespace of its own", "--pid=host"]);
}

/// Seen from the host: both of its numbers are shown.
fn a_mail_server_in_a_container() {
    let mut container = listener(Command::new("unshare").args(["--pid", "--fork", "--kill-child"]).arg(std::env::current_exe().unwrap()));
    let inner = fs::read_to_string(format!("/proc/{0}/task/{0}/children", container.id())).unwrap();
    let ended = mta_trace(&["attach", "-p", inner.trim(), "--duration", "1s", "--view", "none"]);
    container.kill().unwrap();
    container.wait().unwrap();
    let expected = format!("pid {} (1 in its container)", inner.trim());
    assert!(ended.is_done().stderr.contains(&expected), "{}", ended.stderr);
}

/// What `--privileged --pid=host` gives: everything of its own but the process numbers, and a root directory with nothing but programs, /proc and
/// /sys. The mail server and its files are another container's.
fn in_a_container_with_the_pids_of_the_host() {
    const SCRIPT: &str = "set -e; mount -t tmpfs none /mnt; cd /mnt; mkdir -p usr proc sys tmp; ln -s usr/bin usr/lib usr/lib64 .
        mount --rbind /usr usr; mount --rbind /proc proc; mount --rbind /sys sys; cp \"$1\" tmp/mta-trace; shift
        exec chroot /mnt /tmp/mta-trace \"$@\"";
    let lab = lab("in-a-container");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--uts", "--ipc", "--net", "--cgroup", "sh", "-c", SCRIPT, "sh"]);
    command.arg(binary()).args(["attach", "-p", &lab.daemon_pid().to_string(), "--sessions", "1", "--view", "none"]);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    session(&lab);
    let ended = tracer.wait();
    let out = ended.is_done().out();
    // The server's version comes from its greeting, its settings from its own configuration.
    assert!(out.contains("1 session") && out.contains("sendmail 8."), "{out}");
}

fn the_doctor_tries_everything() {
    let ended = mta_trace(&["doctor"]);
    let out = ended.is_done().out();
    for part in [
        "kernel",
        "BTF",
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_SYS_PTRACE",
        "CAP_DAC_READ_SEARCH",
        "user namespace",
        "seccomp",
        "lockdown",
        "unprivileged eBPF",
        "JIT",
        "locked memory",
        "tracefs",
        "ring buffer",
        "sched_switch",
        "sys_exit",
        "fentry",
        "back end",
        "other tracers",
        "mail servers",
    ] {
        assert!(out.lines().any(|line| line.contains(part)), "{part} in {out}");
    }
    assert!(!out.contains("MISSING"), "{out}");
}
