//! What the system says about itself in /proc and /sys, as far as it bears on tracing.
//!
//! In: the text of those files. Out: needs. Nothing is tried here, and nothing is guessed from a version but what cannot be tried.

use super::{Mark, Need};
use crate::kernel;
use rustix::process::{Resource, getrlimit};
use std::fs;
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

/// Kernel, rights and settings.
pub fn needs() -> Vec<Need> {
    let release = kernel::release();
    let is_new = is_at_least(&release, 5, 17);
    let mut needs = vec![need("kernel", is_new, format!("{release} ({})", std::env::consts::ARCH), "Linux 5.17 or newer is needed (bpf_loop)")];
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    needs.push(need("BTF", btf, "/sys/kernel/btf/vmlinux".to_owned(), "the kernel must be built with CONFIG_DEBUG_INFO_BTF=y"));
    let status = read("/proc/self/status");
    let held = effective(&status);
    for (bit, name, why) in CAPABILITIES {
        needs.push(need(name, has(held, *bit), (*why).to_owned(), &format!("{why}: run as root, or give it this capability")));
    }
    let advice = "run it on the host, or in a container with the host's pid namespace (--pid=host)";
    needs.push(need("pid namespace", kernel::is_initial_pid_namespace(), "the host's".to_owned(), advice));
    needs.push(user_namespace(&read("/proc/self/uid_map")));
    needs.push(seccomp(&status));
    needs.push(lockdown(&read("/sys/kernel/security/lockdown")));
    needs.push(unprivileged(&read("/proc/sys/kernel/unprivileged_bpf_disabled")));
    needs.push(jit(&read("/proc/sys/net/core/bpf_jit_enable")));
    needs.extend(statistics(&read("/proc/sys/kernel/bpf_stats_enabled")));
    needs.extend(hidden_processes(&read("/proc/self/mounts")));
    let limit = getrlimit(Resource::Memlock).current.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
    needs.push(Need::ok("locked memory", format!("{limit}; does not count: since Linux 5.11 eBPF memory is the control group's")));
    needs.push(Need::ok("tracefs", "not needed".to_owned()));
    needs
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn need(name: &str, is_met: bool, found: String, advice: &str) -> Need {
    let mark = if is_met { Mark::Ok } else { Mark::Missing };
    Need { name: name.to_owned(), mark, text: if is_met { found } else { advice.to_owned() } }
}

/// Capabilities of another user namespace do not count for `bpf()` (kernel/bpf/syscall.c: `capable`, not `ns_capable`). A kernel without
/// `CONFIG_USER_NS` has no such file.
fn user_namespace(uid_map: &str) -> Need {
    let is_initial = uid_map.is_empty() || uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    need("user namespace", is_initial, "the host's".to_owned(), "root of a user namespace may not load eBPF programs; run it on the host, as root")
}

/// The line `Seccomp` of /proc/PID/status: 2 is a filter.
fn seccomp(status: &str) -> Need {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map_or("", str::trim);
    match mode {
        "" | "0" => Need::ok("seccomp", "no filter".to_owned()),
        _ => Need::note(
            "seccomp",
            "a filter may forbid bpf(); if loading fails below: docker run --privileged, or a profile that allows it".to_owned(),
        ),
    }
}

/// `none [integrity] confidentiality` (security/lockdown/lockdown.c); without the file the kernel has no lockdown.
fn lockdown(text: &str) -> Need {
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("not in use", |(mode, _)| mode);
    let advice =
        "the kernel is locked down for confidentiality, which forbids eBPF to read its memory; boot with lockdown=integrity, or without secure boot";
    need("lockdown", mode != "confidentiality", mode.to_owned(), advice)
}

/// admin-guide/sysctl/kernel.rst: 0 allowed, 1 and 2 not.
fn unprivileged(text: &str) -> Need {
    let said = match text.trim() {
        "0" => "allowed to everybody; not needed",
        "1" | "2" => "not allowed; not needed either",
        _ => "not known; not needed",
    };
    Need::ok("unprivileged eBPF", said.to_owned())
}

/// Only root may read it. Without compiled programs there is no fentry, and every program is slower.
fn jit(text: &str) -> Need {
    match text.trim() {
        "0" => Need::note(
            "JIT",
            "off: programs are interpreted, which costs the mail server several times as much; sysctl net.core.bpf_jit_enable=1".to_owned(),
        ),
        "" => Need::ok("JIT", "not known: only root may read net.core.bpf_jit_enable".to_owned()),
        _ => Need::ok("JIT", "on".to_owned()),
    }
}

/// Two clock readings at each run of each program.
fn statistics(text: &str) -> Option<Need> {
    let is_on = text.trim() == "1";
    is_on.then(|| Need::note("eBPF statistics", "on: each program takes longer; sysctl kernel.bpf_stats_enabled=0".to_owned()))
}

/// `proc /proc proc rw,hidepid=invisible 0 0`.
fn hidden_processes(mounts: &str) -> Option<Need> {
    let proc = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/proc"))?;
    let mode = proc.split_once("hidepid=")?.1.split([',', ' ']).next().filter(|mode| *mode != "0" && *mode != "off")?;
    Some(Need::note("/proc", format!("hidepid={mode} hides processes from those who lack CAP_SYS_PTRACE")))
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

    #[test]
    fn settings_of_the_kernel() {
        let mark = |need: Need| need.mark;
        assert_eq!(mark(lockdown("none integrity [confidentiality]\n")), Mark::Missing);
        assert_eq!(mark(lockdown("none [integrity] confidentiality\n")), Mark::Ok);
        assert_eq!(lockdown("").text, "not in use");
        assert_eq!(mark(user_namespace("         0          0 4294967295\n")), Mark::Ok);
        assert_eq!(mark(user_namespace("")), Mark::Ok);
        assert_eq!(mark(user_namespace("         0     100000      65536\n")), Mark::Missing);
        assert_eq!(mark(seccomp("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n")), Mark::Note);
        assert_eq!(mark(seccomp("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n")), Mark::Ok);
        assert_eq!(mark(jit("0\n")), Mark::Note);
        assert_eq!((jit("1\n").text.as_str(), mark(jit(""))), ("on", Mark::Ok));
        assert!(statistics("0\n").is_none() && statistics("").is_none() && statistics("1\n").is_some());
    }

    #[test]
    fn proc_may_hide_processes() {
        let found = hidden_processes("sysfs /sys sysfs rw 0 0\nproc /proc proc rw,nosuid,hidepid=invisible 0 0\n").expect("a note");
        assert!(found.text.starts_with("hidepid=invisible "), "{}", found.text);
        for mounts in ["", "proc /proc proc rw 0 0\n", "proc /proc proc rw,hidepid=0 0 0\n", "x /proc/y proc hidepid=2 0 0\n"] {
            assert!(hidden_processes(mounts).is_none(), "{mounts}");
        }
    }
}
