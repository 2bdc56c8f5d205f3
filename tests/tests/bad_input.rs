//! Bad input, with the real binary: whatever is asked for or comes in, the answer is one clear sentence that says what to do, the right
//! exit code, never a panic, and the mail server goes on as if nothing were there.
//!
//! In come wrong selections, crippled surroundings, hostile bytes and broken logs; most of it against the lab's real sendmail. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use anyhow::{Context as _, Result, ensure};
use lab::{
    Lab,
    scenario::{DnsAction, DnsRule, Scenario},
};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

/// Longest time for anything that is expected to happen at once; a busy machine may need a part of it.
const LIMIT: Duration = Duration::from_mins(1);
const NOBODY: u32 = 65534;

// What is run, and how it ended.

struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ended {
    fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("standard output is UTF-8")
    }

    /// One sentence on standard error with all the parts, nothing else, and this exit code.
    #[track_caller]
    fn is_refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{}{}", self.stderr, String::from_utf8_lossy(&self.stdout));
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert!(lines.len() == 1 && self.stderr.starts_with("mta-trace: "), "not one sentence:\n{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is missing in: {}", self.stderr);
        }
        assert!(self.stdout.is_empty(), "nothing is printed: {}", String::from_utf8_lossy(&self.stdout));
    }

    #[track_caller]
    fn is_done(&self) -> &Self {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

fn binary() -> PathBuf {
    lab::run::tracer_path().expect("the tracer is built")
}

fn mta_trace(args: &[&str]) -> Ended {
    run(Command::new(binary()).args(args))
}

fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().expect("it can be run");
    Ended { status: output.status, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Runs a shell script as the first process of a mount namespace of its own, with the binary and its arguments as `"$@"`.
fn in_mounts(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(binary()).args(args).stdin(Stdio::null());
    command
}

/// Runs the work in a thread that has entered the network namespace of a process; what it starts is there too.
fn inside<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("namespace");
    let enter = || {
        use std::os::fd::AsFd as _;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network)).expect("enter it");
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().expect("no panic"))
}

/// A running tracer, ready.
struct Tracer {
    child: Child,
    dir: PathBuf,
    lines: Receiver<String>,
}

impl Tracer {
    fn attach(lab: &Lab, name: &str, args: &[&str]) -> Self {
        let pid = lab.daemon_pid().to_string();
        let all: Vec<&str> = ["attach", "-p", &pid].into_iter().chain(args.iter().copied()).collect();
        Self::start(Command::new(binary()).args(all), &lab.dir().join(name))
    }

    /// Standard output and error go to files, so that a full pipe can hold nobody up.
    fn start(command: &mut Command, dir: &Path) -> Self {
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
    fn wait_for(&self, part: &str) -> String {
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

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("pid");
        rustix::process::kill_process(pid, signal).expect("signal");
    }

    fn wait(mut self) -> Ended {
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

    fn interrupt(self) -> Ended {
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

// The lab.

/// Whether the lab can be put up; as root and under CI nothing is skipped.
fn is_able() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || std::env::var_os("CI").is_none_or(|value| value != "true"), "under CI the tests run as root");
    if !is_root {
        eprintln!("skipped: network namespaces and eBPF need root");
    }
    is_root
}

fn folder(name: &str) -> PathBuf {
    let dir = lab::packages::target_dir().join("bad-input").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("folder");
    dir.canonicalize().expect("folder")
}

fn lab(name: &str) -> Lab {
    lab_with(name, |_| {})
}

fn lab_with(name: &str, change: impl FnOnce(&mut Scenario)) -> Lab {
    let mut scenario = Scenario::named("fast").expect("scenario");
    change(&mut scenario);
    let lab = Lab::up_in(&scenario, &folder(name).join("lab")).expect("the lab");
    lab.install_faults().expect("faults");
    lab
}

/// A client. Unlike the lab's own it reads on after a signal: what other tests of this process start makes such interruptions.
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(lab: &Lab) -> Self {
        let stream = lab.connect().expect("connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(LIMIT)).expect("time-out");
        let mut client = Self { reader: BufReader::new(stream) };
        client.reply("220");
        client
    }

    fn send(&mut self, line: &str) {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the mail server takes it");
    }

    #[track_caller]
    fn reply(&mut self, code: &str) {
        let mut line = String::new();
        while line.as_bytes().get(3) != Some(&b' ') {
            line.clear();
            let read = self.reader.read_line(&mut line).expect("the mail server answers");
            assert!(read > 0 && line.starts_with(code), "expected {code}, got {line:?}");
        }
    }

    #[track_caller]
    fn say(&mut self, line: &str, code: &str) {
        self.send(line);
        self.reply(code);
    }

    /// Until the server has closed.
    #[track_caller]
    fn quit(mut self, lab: &Lab) {
        self.say("QUIT", "221");
        drop(self);
        assert!(lab.wait_served(LIMIT), "the serving process ends");
    }
}

/// A whole session; the mail server must serve it whatever happens to the tracer.
#[track_caller]
fn session(lab: &Lab) {
    let mut client = Client::connect(lab);
    for (line, code) in [
        ("HELO client.lab.test", "250"),
        ("MAIL FROM:<a@example.com>", "250"),
        ("RCPT TO:<b@example.net>", "250"),
        ("DATA", "354"),
        ("Subject: test\r\n\r\nhello\r\n.", "250"),
    ] {
        client.say(line, code);
    }
    client.quit(lab);
}

fn report(log: &Path) -> serde_json::Value {
    let ended = mta_trace(&["report", &log.to_string_lossy(), "--format", "json"]);
    serde_json::from_slice(&ended.is_done().stdout).expect("the report is JSON")
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

// Wrong selections.

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
        command.args(["--exact", "helper_that_listens", "--nocapture"]).env(LISTEN, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
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

// Surroundings that lack something.

/// A copy of the binary that everybody may execute, wherever the build folder lies.
fn copy_for_everybody(name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = std::env::temp_dir().join(format!("mta-trace-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let to = dir.join("mta-trace");
    // By another process: a descriptor of ours that writes it would be inherited by what other tests start, and make it busy.
    assert!(Command::new("cp").arg(binary()).arg(&to).status().unwrap().success());
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    to
}

#[test]
fn no_permission() {
    if !is_able() {
        return;
    }
    let lab = lab("no-permission");
    let copy = copy_for_everybody("nobody");
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

#[test]
fn no_btf() {
    if !is_able() {
        return;
    }
    let lab = lab("no-btf");
    let pid = lab.daemon_pid().to_string();
    run(&mut in_mounts(WITHOUT_BTF, &["attach", "-p", &pid])).is_refused(3, &["no BTF", "CONFIG_DEBUG_INFO_BTF"]);
    let ended = run(&mut in_mounts(WITHOUT_BTF, &["doctor"]));
    assert_eq!(ended.status.code(), Some(3), "{}", ended.stderr);
    assert!(ended.out().contains("MISSING  BTF") && ended.out().contains("CONFIG_DEBUG_INFO_BTF"), "{}", ended.out());
    session(&lab);
}

#[test]
fn btf_of_random_bytes() {
    if !is_able() {
        return;
    }
    let lab = lab("random-btf");
    let script = "mount -t tmpfs none /sys/kernel/btf && head -c 100000 /dev/urandom > /sys/kernel/btf/vmlinux && exec \"$@\"";
    let ended = run(&mut in_mounts(script, &["attach", "-p", &lab.daemon_pid().to_string()]));
    ended.is_refused(3, &["/sys/kernel/btf/vmlinux cannot be understood", "uname -r"]);
}

#[test]
fn no_tracefs_is_mended_privately() {
    if !is_able() {
        return;
    }
    let lab = lab("no-tracefs");
    // A mount namespace whose mounts would be seen by others of its group, as on a machine under systemd.
    let script = "mount --make-rshared / && mount -t tmpfs none /sys/kernel/tracing && \"$@\"; code=$?; \
        [ -z \"$(ls -A /sys/kernel/tracing)\" ] || exit 99; exit $code";
    let pid = lab.daemon_pid().to_string();
    let mut command = in_mounts(script, &["attach", "-p", &pid, "--sessions", "1", "--view", "none"]);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", tracer.child.id())).unwrap();
    let on_tracing: Vec<&str> = mounts.lines().filter(|line| line.contains(" /sys/kernel/tracing ")).collect();
    assert!(!on_tracing.iter().any(|line| line.contains(" - tracefs ")), "the system sees it: {on_tracing:?}");
    session(&lab);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("1 session"), "{}", ended.out());
}

#[test]
fn no_tracefs_and_no_right_to_mount_it() {
    if !is_able() {
        return;
    }
    let lab = lab("no-mount");
    let script = "mount -t tmpfs none /sys/kernel/tracing && exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin \"$@\"";
    let ended = run(&mut in_mounts(script, &["attach", "-p", &lab.daemon_pid().to_string()]));
    ended.is_refused(3, &["tracefs", "not permitted"]);
}

// Output files.

#[test]
fn output_files_that_cannot_be() {
    if !is_able() {
        return;
    }
    let lab = lab("output-files");
    let dir = folder("output-files-there");
    let (exists, link, dangling) = (dir.join("exists"), dir.join("link"), dir.join("dangling"));
    fs::write(&exists, "mine").unwrap();
    std::os::unix::fs::symlink(&exists, &link).unwrap();
    std::os::unix::fs::symlink(dir.join("victim"), &dangling).unwrap();
    fs::create_dir(dir.join("folder")).unwrap();
    let pid = lab.daemon_pid().to_string();
    let attach = |path: &Path, more: &[&str]| {
        let path = path_text(path);
        let args: Vec<&str> = ["attach", "-p", &pid, "-o", &path].into_iter().chain(more.iter().copied()).collect();
        mta_trace(&args)
    };
    attach(&exists, &[]).is_refused(1, &["exists already", "--force"]);
    for path in [&link, &dangling] {
        attach(path, &[]).is_refused(1, &["is a symbolic link", "name the file itself"]);
        attach(path, &["--force"]).is_refused(1, &["is a symbolic link", "name the file itself"]);
    }
    attach(&dir.join("folder"), &["--force"]).is_refused(1, &["is no regular file"]);
    attach(Path::new("/dev/null"), &["--force"]).is_refused(1, &["is no regular file"]);
    attach(&dir.join("missing/log"), &[]).is_refused(1, &["missing/log: cannot be opened", "No such file"]);
    attach(Path::new("/proc/log"), &[]).is_refused(1, &["/proc/log: cannot be opened"]);
    assert_eq!(fs::read_to_string(&exists).unwrap(), "mine");
    assert!(!dir.join("victim").exists());
    session(&lab);
}

#[test]
fn an_output_folder_that_is_read_only() {
    if !is_able() {
        return;
    }
    let lab = lab("read-only");
    let dir = folder("read-only-there");
    let log = path_text(&dir.join("log"));
    let script = format!("mount -t tmpfs -o ro none {} && exec \"$@\"", dir.display());
    let ended = run(&mut in_mounts(&script, &["attach", "-p", &lab.daemon_pid().to_string(), "-o", &log]));
    ended.is_refused(1, &["cannot be opened", "Read-only"]);
}

#[test]
fn a_log_of_a_trace_that_never_began_is_not_left_behind() {
    if !is_able() {
        return;
    }
    let log = folder("never-began").join("log");
    mta_trace(&["attach", "--port", "9", "-o", &path_text(&log)]).is_refused(1, &["nobody listens"]);
    assert!(!log.exists());
}

#[test]
fn a_disk_that_fills_while_tracing() {
    if !is_able() {
        return;
    }
    let lab = lab("full-disk");
    let dir = folder("full-disk-there");
    let (log, pid) = (path_text(&dir.join("log")), lab.daemon_pid().to_string());
    let script = format!("mount -t tmpfs -o size=8k none {} && exec \"$@\"", dir.display());
    let mut command = in_mounts(&script, &["attach", "-p", &pid, "--sessions", "2", "-o", &log]);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    session(&lab);
    session(&lab);
    let ended = tracer.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("no space left")).collect();
    assert!(said.first().is_some_and(|line| line.contains("tracing goes on without the log")), "{}", ended.stderr);
    // The report has both sessions all the same.
    assert!(ended.out().contains("2 sessions"), "{}", ended.out());
}

// Logs.

#[test]
fn logs_that_are_none() {
    let dir = folder("no-logs");
    let random: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd][..], &random].concat();
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "is empty; record a log with mta-trace attach -o"),
        ("blank", b"\n\n\n", "no log of mta-trace"),
        ("random", &random, "no log of mta-trace"),
        ("random-zstd", &zstd, "cannot be read"),
        ("text", b"Nov 24 18:00:00 mx sm-mta[1]: x\n", "no log of mta-trace"),
        ("json", b"{\"a\":1}\n", "no log of mta-trace"),
        ("no-header", b"{\"k\":\"end\",\"t\":1,\"reason\":\"signal\"}\n", "does not begin with a header"),
        ("newer", b"{\"k\":\"header\",\"schema\":\"mta-trace.log/2\"}\n", "has the format mta-trace.log/2, this version reads mta-trace.log/1"),
        ("hostile", b"{\"k\":\"header\",\"schema\":\"\\u001b[31m\"}\n", "has the format \\x1b[31m"),
    ];
    for (name, bytes, part) in cases {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        mta_trace(&["report", &path_text(&path)]).is_refused(1, &[part]);
    }
    mta_trace(&["report", &path_text(&dir.join("missing"))]).is_refused(1, &["missing: cannot be opened"]);
    mta_trace(&["report", &path_text(&dir)]).is_refused(1, &["cannot be read"]);
}

#[test]
fn a_report_is_not_written_over_a_file() {
    if !is_able() {
        return;
    }
    let lab = lab("report-file");
    let log = traced(&lab);
    let there = lab.dir().join("there");
    fs::write(&there, "mine").unwrap();
    mta_trace(&["report", &path_text(&log), "-o", &path_text(&there)]).is_refused(1, &["exists already"]);
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
}

/// One traced session; its log.
fn traced(lab: &Lab) -> PathBuf {
    let log = lab.dir().join("trace.jsonl");
    let tracer = Tracer::attach(lab, "tracer", &["--sessions", "1", "-o", &path_text(&log), "--view", "none"]);
    session(lab);
    tracer.wait().is_done();
    log
}

#[test]
fn logs_that_are_cut_or_damaged_anywhere() {
    if !is_able() {
        return;
    }
    let lab = lab("cut-logs");
    let whole = fs::read(traced(&lab)).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let path = lab.dir().join("damaged.jsonl");
    // Cut behind the header, at 40 places, and each time a report comes of what is there.
    for part in 1..=40 {
        fs::write(&path, &whole[..header + (whole.len() - header) * part / 41]).unwrap();
        let ended = mta_trace(&["report", &path_text(&path)]);
        assert!(ended.is_done().stderr.is_empty(), "{}", ended.stderr);
        assert!(ended.out().contains("was stopped") || ended.out().contains("cut") || ended.out().contains("incomplete"), "{}", ended.out());
    }
    // Cut inside the header: no log.
    fs::write(&path, &whole[..header / 2]).unwrap();
    mta_trace(&["report", &path_text(&path)]).is_refused(1, &["no log of mta-trace"]);
    // Bytes turned over behind the header.
    let mut seed = 1_u32;
    for _ in 0..40 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = header + usize::try_from(seed >> 8).unwrap() % (bytes.len() - header);
            bytes[at] = seed.to_le_bytes()[3];
        }
        fs::write(&path, &bytes).unwrap();
        for format in ["text", "json"] {
            let ended = mta_trace(&["report", &path_text(&path), "--format", format]);
            assert!(!ended.stderr.contains("panicked") && ended.status.code() == Some(0), "{}", ended.stderr);
            assert!(!ended.out().contains('\u{1b}'));
        }
    }
}

// Bytes from the network.

#[test]
fn hostile_smtp_lines() {
    if !is_able() {
        return;
    }
    let lab = lab("hostile-smtp");
    let log = lab.dir().join("trace.jsonl");
    for view in ["timeline", "strace"] {
        let tracer = Tracer::attach(&lab, view, &["--sessions", "4", "--force", "-o", &path_text(&log), "--view", view]);
        for hostile in [
            [&b"NOOP "[..], &vec![b'A'; 1 << 20]].concat(),
            b"NOOP \0\0\0x\0".to_vec(),
            b"NOOP \xff\xfe\xc0\x80\xed\xa0\x80\xf5".to_vec(),
            "HELO \u{1b}[2J\u{1b}]0;title\u{7}\u{202e}\u{9b}31m\u{7f}\r\nNOOP \u{1b}[31m".as_bytes().to_vec(),
        ] {
            talk(&lab, &hostile).expect("the mail server answers");
            assert!(lab.wait_served(LIMIT));
        }
        let ended = tracer.wait();
        is_printable(&ended.is_done().stdout);
        is_printable(ended.stderr.as_bytes());
        let replayed = mta_trace(&["report", &path_text(&log)]);
        is_printable(&replayed.is_done().stdout);
        assert_eq!(report(&log)["sessions"].as_array().unwrap().len(), 4);
    }
    session(&lab);
}

/// Reads the greeting, sends the line, then QUIT; reads until the server closes.
fn talk(lab: &Lab, line: &[u8]) -> Result<String> {
    let mut stream: TcpStream = lab.connect()?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut greeting = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut greeting)?;
    ensure!(greeting.starts_with("220"), "{greeting}");
    // sendmail may refuse the line and close before it has read all of it.
    let _ = stream.write_all(line).and_then(|()| stream.write_all(b"\r\nQUIT\r\n"));
    let mut replies = Vec::new();
    let read = stream.read_to_end(&mut replies);
    ensure!(!replies.is_empty(), "no reply: {read:?}");
    String::from_utf8(replies).context("replies")
}

#[track_caller]
fn is_printable(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let bad = |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    assert_eq!(text.chars().find(bad), None, "{text:?}");
}

/// Takes a real answer and gives what takes its place.
type Trick<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn hostile_dns_answers() {
    if !is_able() {
        return;
    }
    let lab = lab("hostile-dns");
    let text = fs::read_to_string(traced(&lab)).unwrap();
    let head = |id: &[u8]| [id, &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
    let tail = [0, 28, 0, 1];
    let labels = |id: &[u8], count: usize| [head(id), [1, b'a'].repeat(count), vec![0], tail.to_vec()].concat();
    let tricks: [(&str, Trick<'_>); 9] = [
        ("cut behind the id", &|real| real[..2].to_vec()),
        ("cut in the header", &|real| real[..7].to_vec()),
        ("cut in the name", &|real| real[..real.len().min(15)].to_vec()),
        ("pointer to itself", &|real| [head(&real[..2]), vec![0xc0, 12], tail.to_vec()].concat()),
        ("two pointers in a circle", &|real| [head(&real[..2]), vec![0xc0, 14, 0xc0, 12], tail.to_vec()].concat()),
        ("pointer behind the end", &|real| [head(&real[..2]), vec![0xff, 0xff], tail.to_vec()].concat()),
        ("255 labels", &|real| labels(&real[..2], 255)),
        ("127 labels", &|real| labels(&real[..2], 127)),
        ("escape sequences in a label", &|real| [head(&real[..2]), vec![5, 0x1b, b'[', b'3', b'1', b'm', 0], tail.to_vec()].concat()),
    ];
    for (name, trick) in tricks {
        let mut damaged = 0;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
                let data = record["data"].as_str().map(decode_base64).filter(|data| data.len() > 12);
                let is_dns = record["peer"].as_str().is_some_and(|peer| peer.ends_with(":53"));
                if let (true, Some(data)) = (is_dns, data) {
                    damaged += 1;
                    let answer = trick(&data);
                    record["ret"] = answer.len().into();
                    record["data"] = encode_base64(&answer).into();
                }
                record.to_string()
            })
            .collect();
        assert!(damaged >= 4, "{name}: only {damaged} packets");
        let path = lab.dir().join("dns.jsonl");
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let ended = mta_trace(&["report", &path_text(&path)]);
        is_printable(&ended.is_done().stdout);
        assert_eq!(report(&path)["sessions"].as_array().unwrap().len(), 1, "{name}");
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0_u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            text.push(if i <= chunk.len() { char::from(LETTERS[(word >> (18 - 6 * i) & 63) as usize]) } else { '=' });
        }
    }
    text
}

fn decode_base64(text: &str) -> Vec<u8> {
    let values: Vec<u32> =
        text.bytes().filter_map(|byte| LETTERS.iter().position(|letter| *letter == byte)).filter_map(|at| u32::try_from(at).ok()).collect();
    let word = |chunk: &[u32]| chunk.iter().enumerate().fold(0, |word, (i, value)| word | value << (18 - 6 * i));
    values.chunks(4).flat_map(|chunk| word(chunk).to_be_bytes()[1..chunk.len().max(1)].to_vec()).collect()
}

// What happens to the daemon and to the tracer.

#[test]
fn the_daemon_executes_itself_on_hup() {
    if !is_able() {
        return;
    }
    let lab = lab("hup");
    let log = lab.dir().join("trace.jsonl");
    let tracer = Tracer::attach(&lab, "tracer", &["-o", &path_text(&log), "--view", "none"]);
    session(&lab);
    let pid = rustix::process::Pid::from_raw(i32::try_from(lab.daemon_pid()).unwrap()).unwrap();
    let listening = || listening_inodes(lab.daemon_pid());
    let before = listening();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let end = Instant::now() + LIMIT;
    while (listening().is_empty() || listening() == before) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!listening().is_empty() && listening() != before, "sendmail restarts itself");
    session(&lab);
    tracer.interrupt().is_done();
    let report = report(&log);
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2, "the session after the restart is traced too");
    for session in sessions {
        assert_eq!(session["commands"].as_array().unwrap().len(), 9, "{session}");
    }
}

/// Inodes of the sockets that a process holds and that listen.
fn listening_inodes(pid: u32) -> Vec<String> {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default()).concat();
    let listens = |line: &&str| line.split_whitespace().nth(3) == Some("0A");
    let inodes: Vec<&str> = tables.lines().filter(listens).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|link| path_text(&link)).filter(|link| inodes.iter().any(|inode| *link == format!("socket:[{inode}]"))).collect()
}

#[test]
fn two_tracers_on_one_daemon() {
    if !is_able() {
        return;
    }
    let lab = lab("two-tracers");
    let logs = ["first", "second"].map(|name| lab.dir().join(format!("{name}.jsonl")));
    let tracers: Vec<Tracer> = logs
        .iter()
        .map(|log| Tracer::attach(&lab, &log.file_stem().unwrap().to_string_lossy(), &["--sessions", "1", "-o", &path_text(log), "--view", "none"]))
        .collect();
    session(&lab);
    for tracer in tracers {
        tracer.wait().is_done();
    }
    let commands = logs.map(|log| {
        let report = report(&log);
        report["sessions"][0]["commands"].as_array().unwrap().iter().map(|command| command["verb"].to_string()).collect::<Vec<_>>()
    });
    assert_eq!(commands[0], commands[1]);
    assert_eq!(commands[0].len(), 9);
}

#[test]
fn signals_end_it_with_the_summary() {
    if !is_able() {
        return;
    }
    let lab = lab("signals");
    for (name, signal) in [("int", rustix::process::Signal::INT), ("term", rustix::process::Signal::TERM)] {
        let tracer = Tracer::attach(&lab, name, &[]);
        session(&lab);
        tracer.signal(signal);
        let ended = tracer.wait();
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", ended.stderr);
        assert!(ended.out().contains("1 session,") && ended.out().contains("ended by QUIT"), "{}", ended.out());
    }
}

#[test]
fn nothing_stays_when_it_is_killed() {
    if !is_able() {
        return;
    }
    let lab = lab_with("killed-tracer", silent_aaaa);
    let tracer = Tracer::attach(&lab, "killed", &["--view", "none"]);
    let programs = programs_of(tracer.child.id());
    assert!(!programs.is_empty(), "the tracer holds programs");
    // Killed in the middle of a wait of a traced session, which goes on.
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.send("MAIL FROM:<a@example.com>");
    std::thread::sleep(Duration::from_millis(500));
    tracer.signal(rustix::process::Signal::KILL);
    assert_eq!(tracer.wait().status.signal(), Some(9));
    if let Ok(bpftool) = Command::new("bpftool").args(["prog", "show"]).output() {
        let left = String::from_utf8_lossy(&bpftool.stdout).into_owned();
        assert!(!programs.iter().any(|id| left.lines().any(|line| line.starts_with(&format!("{id}:")))), "{left}");
    }
    let second = Tracer::attach(&lab, "second", &["--sessions", "1"]);
    client.reply("250");
    client.quit(&lab);
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.quit(&lab);
    let ended = second.wait();
    assert!(ended.is_done().out().contains("1 session,"), "{}", ended.out());
}

/// Ids of the eBPF programs that the descriptors of a process hold.
fn programs_of(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")).map(|id| id.trim().to_owned())).collect()
}

#[test]
fn it_ends_after_a_time_or_a_number_of_sessions() {
    if !is_able() {
        return;
    }
    let lab = lab("limits");
    let began = Instant::now();
    let tracer = Tracer::attach(&lab, "duration", &["--duration", "1s"]);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("nobody was accepted"), "{}", ended.out());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let tracer = Tracer::attach(&lab, "sessions", &["--sessions", "2"]);
    session(&lab);
    session(&lab);
    let ended = tracer.wait();
    assert!(ended.is_done().out().contains("2 sessions,"), "{}", ended.out());
}

#[test]
fn a_daemon_that_ends_ends_the_trace() {
    if !is_able() {
        return;
    }
    let lab = lab("daemon-ends");
    let tracer = Tracer::attach(&lab, "tracer", &[]);
    let pid = rustix::process::Pid::from_raw(i32::try_from(lab.daemon_pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    tracer.wait().is_done();
}

#[test]
fn a_pipe_that_is_closed_is_no_failure() {
    if !is_able() {
        return;
    }
    let lab = lab("closed-pipe");
    let log = traced(&lab);
    let script = "\"$0\" report \"$1\" | true; \"$0\" report \"$1\" --format json | head -c 10 >/dev/null";
    let ended = run(Command::new("bash").args(["-o", "pipefail", "-c", script]).arg(binary()).arg(&log));
    assert!(ended.is_done().stderr.is_empty(), "{}", ended.stderr);
}

// A session that runs already.

fn silent_aaaa(scenario: &mut Scenario) {
    scenario.dns.rules = vec![DnsRule { name: "example.com".into(), qtype: "AAAA".into(), action: DnsAction::Silent, ..DnsRule::default() }];
}

/// Attaches while MAIL waits for a name server that never answers; gives the report and what the tracer said.
fn attached_late(name: &str, args: impl FnOnce(&Lab) -> Vec<String>) -> (serde_json::Value, Ended) {
    let lab = lab_with(name, silent_aaaa);
    let log = lab.dir().join("trace.jsonl");
    let mut client = Client::connect(&lab);
    client.say("HELO client.lab.test", "250");
    client.send("MAIL FROM:<a@example.com>");
    // The question is asked at once, and the answer never comes: five seconds until it is asked again.
    std::thread::sleep(Duration::from_millis(500));
    let mut command = Command::new(binary());
    command.arg("attach").args(args(&lab)).args(["--view", "none", "--sessions", "1", "-o"]).arg(&log);
    let tracer = Tracer::start(&mut command, &lab.dir().join("tracer"));
    client.reply("250");
    client.quit(&lab);
    let ended = tracer.wait();
    ended.is_done();
    (report(&log), ended)
}

#[track_caller]
fn is_seeded(report: &serde_json::Value) {
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{report}");
    assert_eq!(sessions[0]["began"], "seeded", "{report}");
    let commands = sessions[0]["commands"].as_array().unwrap();
    let waits: Vec<&serde_json::Value> = commands.iter().flat_map(|command| command["waits"].as_array().unwrap()).collect();
    let long: Vec<_> = waits.iter().filter(|wait| wait["elapsed_s"].as_f64().unwrap_or(0.0) > 2.0).collect();
    assert!(!long.is_empty(), "the wait that was going on is there: {report}");
    assert!(long.iter().any(|wait| wait["cause"] == "dns" || wait.to_string().contains("poll")), "{report}");
    assert!(commands.iter().any(|command| command["verb"] == "QUIT"), "{report}");
}

#[test]
fn a_child_that_serves_a_session_already() {
    if !is_able() {
        return;
    }
    let (report, ended) = attached_late("child", |lab| {
        let serving = lab.serving();
        assert_eq!(serving.len(), 1, "{serving:?}");
        vec!["-p".into(), serving[0].to_string()]
    });
    is_seeded(&report);
    assert!(ended.stderr.contains("serving a session"), "{}", ended.stderr);
}

#[test]
fn sessions_that_run_already_are_taken_in_on_demand() {
    if !is_able() {
        return;
    }
    let (report, _) = attached_late("existing", |lab| vec!["-p".into(), lab.daemon_pid().to_string(), "--existing".into()]);
    is_seeded(&report);
}

// Finding the daemon.

#[test]
fn the_daemon_is_found_by_port_by_name_and_by_itself() {
    if !is_able() {
        return;
    }
    let lab = lab("found");
    let pid = lab.daemon_pid();
    for (name, args) in [("port", &["--port", "25"][..]), ("mta", &["--mta", "sendmail"]), ("itself", &[])] {
        let tracer = inside(pid, || {
            let mut command = Command::new(binary());
            command.arg("attach").args(args).args(["--sessions", "1"]);
            Tracer::start(&mut command, &lab.dir().join(name))
        });
        session(&lab);
        let ended = tracer.wait();
        assert!(ended.is_done().stderr.contains(&format!("pid {pid}")), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains("sendmail 8.") && ended.stderr.contains("listening on 10.99.0.2:25"), "{name}: {}", ended.stderr);
        assert!(ended.out().contains("1 session,"), "{name}: {}", ended.out());
    }
    let nobody = inside(pid, || mta_trace(&["attach", "--port", "26"]));
    nobody.is_refused(1, &["nobody listens on port 26"]);
}

#[test]
fn when_nobody_matched_it_says_who_came_instead() {
    if !is_able() {
        return;
    }
    let lab = lab("others");
    let tracer = Tracer::attach(&lab, "tracer", &["--client", "192.0.2.0/24"]);
    session(&lab);
    session(&lab);
    let ended = tracer.interrupt();
    let expected = "0 sessions from 192.0.2.0/24; 2 others were accepted: 10.99.0.1 (2)";
    assert!(ended.is_done().out().contains(expected), "{}", ended.out());
}

// The doctor.

#[test]
fn the_doctor_tries_everything() {
    if !is_able() {
        return;
    }
    let ended = mta_trace(&["doctor"]);
    let out = ended.is_done().out();
    for part in [
        "kernel",
        "BTF",
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_SYS_PTRACE",
        "CAP_DAC_READ_SEARCH",
        "lockdown",
        "tracefs",
        "ring buffer",
        "hooks",
        "other tracers",
    ] {
        assert!(out.lines().any(|line| line.contains(part)), "{part} in {out}");
    }
    assert!(!out.contains("MISSING"), "{out}");
}
