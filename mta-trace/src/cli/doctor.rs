//! `doctor`: whether tracing can work here, and what is missing.
//!
//! In: /proc, /sys, and what the kernel says when every hook is tried. Out: one line for each need, with what to do where
//! it is not met. Leaves nothing changed.

use super::args::doctor::Doctor;
use super::output::Failure;
use crate::kernel;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// linux/capability.h.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (39, "CAP_BPF", "to load the eBPF programs"),
    (38, "CAP_PERFMON", "to attach them to tracepoints"),
    (19, "CAP_SYS_PTRACE", "to look at the mail server's descriptors"),
    (2, "CAP_DAC_READ_SEARCH", "to look at processes of other users in /proc"),
];
/// Includes the first two.
const CAP_SYS_ADMIN: u32 = 21;

struct Need {
    name: String,
    is_met: bool,
    /// What was found, or what to do.
    text: String,
}

/// Looks, prints, and fails with 3 if something is missing.
pub fn run(doctor: &Doctor) -> Result<(), Failure> {
    let (needs, programs) = needs();
    let mut out = io::stdout().lock();
    for need in &needs {
        let mark = if need.is_met { "ok     " } else { "MISSING" };
        writeln!(out, "{mark}  {:<20} {}", need.name, need.text).map_err(Failure::io)?;
    }
    for (name, instructions, bytes) in programs.iter().filter(|_| doctor.programs) {
        writeln!(out, "program  {name:<28} {instructions:>8} instructions verified, {bytes:>6} bytes").map_err(Failure::io)?;
    }
    out.flush().map_err(Failure::io)?;
    let missing: Vec<&str> = needs.iter().filter(|need| !need.is_met).map(|need| need.name.as_str()).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::not_able(format!("tracing cannot work here, missing: {}; `report` works all the same", missing.join(", "))))
    }
}

fn needs() -> (Vec<Need>, kernel::Programs) {
    let release = kernel::release();
    let is_new = is_at_least(&release, 5, 17);
    let mut needs = vec![need("kernel", is_new, release, "Linux 5.17 or newer is needed (bpf_loop)")];
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    needs.push(need("BTF", btf, "/sys/kernel/btf/vmlinux".to_owned(), "the kernel must be built with CONFIG_DEBUG_INFO_BTF=y"));
    let held = fs::read_to_string("/proc/self/status").map_or(0, |status| effective(&status));
    for (bit, name, why) in CAPABILITIES {
        needs.push(need(name, has(held, *bit), (*why).to_owned(), &format!("{why}: run as root, or give it this capability")));
    }
    let advice = "run it on the host, or in a container with the host's pid namespace (--pid=host)";
    needs.push(need("pid namespace", kernel::is_initial_pid_namespace(), "the host's".to_owned(), advice));
    needs.push(lockdown());
    needs.push(need("tracefs", true, "not needed".to_owned(), ""));
    let others = kernel::others();
    let (probes, programs) = kernel::probe(!others.tracers.is_empty());
    needs.extend(probes.into_iter().map(|kernel::Probe { what, result }| match result {
        Ok(text) => Need { name: what, is_met: true, text },
        Err(text) => Need { name: what, is_met: false, text },
    }));
    let others = [others.tracers, others.debuggers].concat();
    let text = if others.is_empty() { "none".to_owned() } else { others.join("; ") };
    needs.push(Need { name: "other tracers".to_owned(), is_met: true, text });
    (needs, programs)
}

/// `none [integrity] confidentiality` (security/lockdown/lockdown.c); without the file the kernel has no lockdown.
fn lockdown() -> Need {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("not in use", |(mode, _)| mode);
    let advice =
        "the kernel is locked down for confidentiality, which forbids eBPF to read its memory; boot with lockdown=integrity, or without secure boot";
    need("lockdown", mode != "confidentiality", mode.to_owned(), advice)
}

fn need(name: &str, is_met: bool, found: String, advice: &str) -> Need {
    Need { name: name.to_owned(), is_met, text: if is_met { found } else { advice.to_owned() } }
}

/// `6.1.0-13-amd64`.
fn is_at_least(release: &str, major: u32, minor: u32) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(a), Some(b)) => (a, b) >= (major, minor),
        _ => false,
    }
}

/// The line `CapEff` of /proc/PID/status.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// `CAP_SYS_ADMIN` includes what was later split off from it (capabilities(7)).
fn has(held: u64, bit: u32) -> bool {
    let is_set = |bit: u32| held.checked_shr(bit).is_some_and(|rest| rest & 1 == 1);
    is_set(bit) || (matches!(bit, 38 | 39) && is_set(CAP_SYS_ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, expected) in [("6.1.0-13-amd64", true), ("5.17.0", true), ("5.16.19", false), ("4.19.0", false), ("x", false), ("", false)] {
            assert_eq!(is_at_least(release, 5, 17), expected, "{release}");
        }
    }

    #[test]
    fn capabilities_are_bits() {
        let held = effective("Name:\tx\nCapEff:\t000000c000080004\n");
        assert!(has(held, 39) && has(held, 38) && has(held, 19) && has(held, 2));
        assert!(!has(held, CAP_SYS_ADMIN));
        assert!(has(1 << CAP_SYS_ADMIN, 39) && !has(1 << CAP_SYS_ADMIN, 19));
        assert_eq!(effective("no such line"), 0);
    }
}
