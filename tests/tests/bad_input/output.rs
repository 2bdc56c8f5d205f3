//! Output files that cannot be written.

use crate::{
    program::{Tracer, alone, in_mounts, mta_trace, run},
    world::{folder, lab, path_text, session},
};
use std::{fs, path::Path};

tests! {
    root: output_files_that_cannot_be, an_output_folder_that_is_read_only, a_log_of_a_trace_that_never_began_is_not_left_behind, a_disk_that_fills_while_tracing;
    anyone:
}

fn output_files_that_cannot_be() {
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

fn an_output_folder_that_is_read_only() {
    let lab = lab("read-only");
    let dir = folder("read-only-there");
    let log = path_text(&dir.join("log"));
    let script = format!("mount -t tmpfs -o ro none {} && exec \"$@\"", dir.display());
    let ended = run(&mut in_mounts(&script, &["attach", "-p", &lab.daemon_pid().to_string(), "-o", &log]));
    ended.is_refused(1, &["cannot be opened", "Read-only"]);
}

fn a_log_of_a_trace_that_never_began_is_not_left_behind() {
    let log = folder("never-began").join("log");
    alone(&["attach", "--port", "9", "-o", &path_text(&log)]).is_refused(1, &["nobody listens"]);
    assert!(!log.exists());
}

fn a_disk_that_fills_while_tracing() {
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
