//! What the kernel accounts for a process: CPU time and peak memory.

use anyhow::{Context as _, Result, ensure};
use lab::{Lab, Stop};
use std::{
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

/// `/proc` counts CPU time in these, on every architecture (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// User and system time of a process, and of the children that it has reaped.
pub fn cpu_s(pid: u32) -> Result<[f64; 4]> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("read /proc/{pid}/stat"))?;
    // The name may hold anything; the 14th field is the 12th behind it (proc_pid_stat(5)).
    let (_, fields) = text.rsplit_once(')').context("/proc/PID/stat without a name")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let ticks: [f64; 4] = ticks.try_into().ok().context("/proc/PID/stat without times")?;
    Ok(ticks.map(|ticks| ticks / TICKS_PER_S))
}

pub fn sendmail_cpu_s(lab: &Lab) -> Result<f64> {
    Ok(cpu_s(lab.daemon_pid())?.iter().sum())
}

pub fn peak(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// Time that the hypervisor gave to others while this machine's processors had work: `steal` of `/proc/stat`, in whole ticks.
pub fn stolen_s() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let ticks: f64 = text.split_whitespace().nth(8).and_then(|field| field.parse().ok()).context("/proc/stat without steal")?;
    Ok(ticks / TICKS_PER_S)
}

pub fn load_average() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Runs a command to its end; with the most memory that it had.
pub fn run_and_peak(command: &mut Command, limit: Duration) -> Result<(ExitStatus, u64)> {
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let (pause, end, mut most_kib) = (Stop::new()?, Instant::now() + limit, 0);
    loop {
        // The peak is gone with the process, so it is looked at until then.
        most_kib = peak(child.id()).unwrap_or(0).max(most_kib);
        if let Some(status) = child.try_wait()? {
            return Ok((status, most_kib));
        }
        ensure!(Instant::now() < end, "{command:?} does not end");
        pause.pass(Duration::from_millis(2));
    }
}
