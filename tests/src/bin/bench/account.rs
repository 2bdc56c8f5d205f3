//! Time on a processor, and waiting for one, of single sessions: the kernel's own account of the serving process beside the tracer's.

use crate::{
    LIMIT,
    load::wait_reaped,
    log::{number, records, report, text},
    proc,
    tracer::Tracer,
    variant::Variant,
};
use anyhow::{Context as _, Result, bail, ensure};
use lab::{Lab, Stop};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    time::Duration,
};

/// Sessions whose times are compared.
const ACCOUNTED: usize = 5;

/// One session until it waits for QUIT.
pub struct Account {
    /// On a processor.
    pub cpu: Times,
    /// The sum of `cpu_s` of the report's commands until then, s.
    pub commands_s: f64,
    /// Runnable, waiting for one. The commands' `runqueue_s` do not add up to it: what lies inside a wait is the wait's.
    pub runqueue: Times,
    /// What the hypervisor took from all processors meanwhile, s.
    stolen_s: f64,
}

/// A time by the kernel and by the tracer, s.
pub struct Times {
    /// `/proc/PID/schedstat`.
    pub kernel: f64,
    /// The counter in the log's first record after that.
    pub counter: f64,
}

impl Account {
    /// Differences above max(2 ms, 2 %), and above what was stolen: the kernel's account leaves it out, a clock cannot.
    pub fn problems(&self) -> Vec<String> {
        let Self { cpu, commands_s, runqueue, stolen_s } = self;
        let times = [
            ("the counter of CPU time", cpu.kernel, cpu.counter),
            ("the sum of cpu_s", cpu.kernel, *commands_s),
            ("the counter of the run queue", runqueue.kernel, runqueue.counter),
        ];
        times
            .into_iter()
            .filter(|(_, kernel, own)| (own - kernel).abs() > (kernel * 0.02).max(0.002) + stolen_s)
            .map(|(name, kernel, own)| format!("a session: {name} is {own:.6} s, by the kernel {kernel:.6} s"))
            .collect()
    }
}

/// Plays some sessions, traced, and reads the serving child's account just before QUIT.
pub fn accounts(lab: &Lab) -> Result<Vec<Account>> {
    let output = lab.dir().join("bench-output");
    let (command, word) = Variant::Traced.command(lab.daemon_pid(), &output)?.context("a tracer")?;
    let tracer = Tracer::start(command, word)?;
    let readings = (0..ACCOUNTED).map(|_| session(lab)).collect::<Result<Vec<_>>>()?;
    tracer.stop()?;
    let records = records(&output)?.collect::<Result<Vec<_>>>()?;
    let report = report(&output)?;
    let sessions = report.get("sessions").and_then(serde_json::Value::as_array).context("a report without sessions")?;
    readings.iter().map(|reading| reading.account(&records, sessions)).collect()
}

struct Reading {
    pid: u32,
    t_ns: u64,
    /// On a processor, and waiting for one.
    times_ns: [u64; 2],
    stolen_s: f64,
}

/// One session by hand; the child is read while it waits for the last command.
fn session(lab: &Lab) -> Result<Reading> {
    let stolen_before_s = proc::stolen_s()?;
    let mut stream = lab.connect()?;
    stream.set_read_timeout(Some(LIMIT)).context("set a time limit")?;
    let mut replies = BufReader::new(stream.try_clone().context("copy the connection")?);
    let mut reply = || -> Result<()> {
        let mut line = String::new();
        replies.read_line(&mut line).context("read a reply")?;
        ensure!(line.starts_with(['2', '3']), "sendmail says {line}");
        Ok(())
    };
    reply()?;
    for line in ["HELO client.lab.test", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "Subject: test\r\n\r\nhello\r\n."] {
        write!(stream, "{line}\r\n").context("send a command")?;
        reply()?;
    }
    let &[pid] = lab.serving().as_slice() else { bail!("not one serving process") };
    let mut reading = settled(pid)?;
    reading.stolen_s = proc::stolen_s()? - stolen_before_s;
    write!(stream, "QUIT\r\n").context("send QUIT")?;
    reply()?;
    wait_reaped(lab)?;
    Ok(reading)
}

/// The times of a process that has come to rest: the same twice.
fn settled(pid: u32) -> Result<Reading> {
    let read = || -> Result<[u64; 2]> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).context("read /proc/PID/schedstat")?;
        let mut fields = text.split_whitespace().map_while(|field| field.parse().ok());
        fields.next().zip(fields.next()).map(<[u64; 2]>::from).context("/proc/PID/schedstat")
    };
    let pause = Stop::new()?;
    let mut times_ns = read()?;
    loop {
        pause.pass(Duration::from_millis(10));
        let again_ns = read()?;
        if again_ns == times_ns {
            return Ok(Reading { pid, t_ns: lab::journal::now_ns(), times_ns, stolen_s: 0.0 });
        }
        times_ns = again_ns;
    }
}

impl Reading {
    fn account(&self, records: &[serde_json::Value], sessions: &[serde_json::Value]) -> Result<Account> {
        let is_next = |record: &&serde_json::Value| {
            number(record, "pid") == u64::from(self.pid) && text(record, "k") == "sys" && number(record, "t") > self.t_ns
        };
        let next = records.iter().find(is_next).context("no record of the session after the reading")?;
        let is_own = |session: &&serde_json::Value| number(session, "pid") == u64::from(self.pid);
        let session = sessions.iter().find(is_own).context("the session is not in the report")?;
        let commands = session.get("commands").and_then(serde_json::Value::as_array).context("a session without commands")?;
        let before_quit = commands.iter().take_while(|command| text(command, "verb") != "QUIT");
        let times = |kernel_ns: u64, counter: &str| {
            let [kernel, counter] = [kernel_ns, number(next, counter)].map(lab::journal::seconds);
            Times { kernel, counter }
        };
        let [cpu_ns, runqueue_ns] = self.times_ns;
        Ok(Account {
            cpu: times(cpu_ns, "cpu_ns"),
            commands_s: before_quit.filter_map(|command| command.get("cpu_s")?.as_f64()).sum(),
            runqueue: times(runqueue_ns, "rq_ns"),
            stolen_s: self.stolen_s,
        })
    }
}
