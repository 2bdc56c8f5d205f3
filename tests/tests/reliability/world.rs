//! The lab, its clients, and tracers whose log is read while it is written.

use crate::LIMIT;
use lab::{Lab, netns, run, scenario::Scenario, tracer::READY};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead as _, BufReader, PipeReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

pub use lab::telnet::Telnet as Client;

pub fn folder(name: &str) -> PathBuf {
    let dir = lab::packages::target_dir().join("reliability").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir.canonicalize().unwrap()
}

pub fn lab(name: &str) -> Lab {
    lab_with(name, |_| {})
}

pub fn lab_with(name: &str, change: impl FnOnce(&mut Scenario)) -> Lab {
    let mut scenario = Scenario::named("fast").unwrap();
    change(&mut scenario);
    let lab = Lab::up_in(&scenario, &folder(name).join("lab")).unwrap();
    lab.install_faults().unwrap();
    lab
}

/// A tracer that writes its log to a file, and has the share of the processors that the mail server has.
pub fn attach(lab: &Lab, log: &Path, args: &[&str]) -> lab::tracer::Tracer {
    let mut command = Command::new(run::tracer_path().unwrap());
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--view", "none", "-o"]).arg(log).args(args).stdout(Stdio::null());
    netns::die_with_parent(&mut command);
    let tracer = lab::tracer::Tracer::start(&mut command, |_| {}).unwrap();
    tracer.share_with_lab().unwrap();
    tracer.wait_for(READY, run::READY_LIMIT).unwrap();
    tracer
}

/// A tracer that writes its log to a pipe, and the log as far as it has come.
pub struct Tracer {
    pub process: lab::tracer::Tracer,
    records: Receiver<Value>,
    seen: Vec<Value>,
    log: PathBuf,
}

impl Tracer {
    pub fn attach(pid: u32, dir: &Path, args: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let log = dir.join("trace.jsonl");
        let mut command = Command::new(run::tracer_path().unwrap());
        command.args(["attach", "-p", &pid.to_string(), "-o", "-"]).args(args).stdout(writer);
        // Which back end is tested; without it, the one that the kernel has.
        command.args(std::env::var_os("MTA_TRACE_HOOKS").iter().flat_map(|hooks| [OsStr::new("--hooks"), hooks]));
        netns::die_with_parent(&mut command);
        let process = lab::tracer::Tracer::start(&mut command, |_| {}).unwrap();
        // Its end of the pipe must be the only one.
        drop(command);
        process.wait_for(READY, run::READY_LIMIT).unwrap();
        Self { process, records: records(reader, &log), seen: Vec::new(), log }
    }

    /// Waits for a record that is written from now on or was before.
    #[track_caller]
    pub fn wait_record(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(found) = self.seen.iter().find(|record| is_it(record)) {
            return found.clone();
        }
        loop {
            let record = self.records.recv_timeout(LIMIT).expect("such a record is written");
            self.seen.push(record.clone());
            if is_it(&record) {
                return record;
            }
        }
    }

    /// Waits for its end, which comes by itself; gives all records and the report.
    #[track_caller]
    pub fn wait(mut self) -> (Vec<Value>, Value) {
        self.process.wait(LIMIT).unwrap().success().unwrap();
        self.seen.extend(self.records.iter());
        let report = report(&self.log);
        (self.seen, report)
    }
}

/// Copies the log into a file, and hands its records out.
fn records(reader: PipeReader, log: &Path) -> Receiver<Value> {
    let mut file = File::create(log).unwrap();
    let (sender, records) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            writeln!(file, "{line}").unwrap();
            let _ = sender.send(serde_json::from_str(&line).unwrap());
        }
    });
    records
}

pub fn report(log: &Path) -> Value {
    let mut command = Command::new(run::tracer_path().unwrap());
    let ended = lab::tracer::run(command.arg("report").arg(log).args(["--format", "json"]), LIMIT).unwrap().success().unwrap();
    serde_json::from_slice(&ended.stdout).unwrap()
}
