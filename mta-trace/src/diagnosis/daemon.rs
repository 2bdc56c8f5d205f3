//! Findings of the daemon: connections that it refused or let wait on purpose, and those that its listen queue had no room for.
//!
//! In: what it said of itself and what the kernel counted. Out: findings that belong to no session. What a daemon's words mean is the
//! mail server's own business (`mta/`).

use super::settings::{Remedy, Settings};
use super::text::{count, seconds};
use crate::mta::{self, DaemonTopic, Mta, Refusal, Topic};
use crate::report::{DaemonFinding, DaemonReport, Severity};

pub const OVERFLOW: &str = "listen-overflow";

/// The findings, worst first.
pub fn of_daemon(report: &DaemonReport, mta: &str, settings: &Settings) -> Vec<DaemonFinding> {
    let mta = mta::by_name(mta);
    let mut found: Vec<DaemonFinding> = Vec::new();
    for state in &report.states {
        let Some(Refusal { rule, what, topic }) = mta.refusal_in(&state.state) else { continue };
        let evidence = || format!("its title said `{}`", state.state);
        match found.iter_mut().find(|it| it.rule == rule) {
            Some(known) => known.elapsed_s += state.elapsed_s,
            None => found.push(DaemonFinding {
                rule: rule.to_owned(),
                severity: Severity::Low,
                elapsed_s: state.elapsed_s,
                summary: what.to_owned(),
                evidence: evidence(),
                remedy: Remedy::of(mta, settings, Topic::Daemon(topic)).told().0,
                check: mta.check(Topic::Daemon(topic)).map(str::to_owned),
            }),
        }
    }
    for it in &mut found {
        it.severity = severity(it.elapsed_s);
        it.summary = format!("the daemon (pid {}) {} for {}", report.pid, it.summary, seconds(it.elapsed_s));
    }
    if report.listen_overflows > 0 {
        found.push(overflow(report, mta, settings));
    }
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.elapsed_s.total_cmp(&a.elapsed_s)));
    found
}

fn overflow(report: &DaemonReport, mta: &dyn Mta, settings: &Settings) -> DaemonFinding {
    let connections = count(report.listen_overflows, "connection");
    DaemonFinding {
        rule: OVERFLOW.to_owned(),
        // A client whose SYN or ACK is dropped tries again after 1, 3, 7 s (RFC 6298).
        severity: Severity::High,
        elapsed_s: 0.0,
        summary: format!("{connections} found a listen queue full and had to try again, which takes a client one second or more each time"),
        evidence: format!(
            "ListenOverflows of the network namespace of pid {} rose by {}, ListenDrops by {}; the counters are those of all listeners in it",
            report.pid, report.listen_overflows, report.listen_drops
        ),
        remedy: Remedy::of(mta, settings, Topic::Daemon(DaemonTopic::ListenQueue)).told().0,
        check: mta
            .check(Topic::Daemon(DaemonTopic::ListenQueue))
            .map(str::to_owned)
            .or_else(|| Some("ss -ltn; nstat -az TcpExtListenOverflows".to_owned())),
    }
}

fn severity(elapsed_s: f64) -> Severity {
    match elapsed_s {
        s if s >= 5.0 => Severity::High,
        s if s >= 0.5 => Severity::Medium,
        _ => Severity::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::DaemonState;

    fn rules(states: &[(&str, f64)], listen_overflows: u64) -> Vec<(String, Severity)> {
        let state = |&(state, elapsed_s): &(&str, f64)| DaemonState { state: state.to_owned(), started: String::new(), elapsed_s };
        let report = DaemonReport {
            pid: 7,
            listen_overflows,
            listen_drops: listen_overflows,
            states: states.iter().map(state).collect(),
            findings: Vec::new(),
        };
        of_daemon(&report, "sendmail", &Settings::default()).into_iter().map(|it| (it.rule, it.severity)).collect()
    }

    #[test]
    fn each_way_of_refusing_has_its_rule() {
        let found = rules(
            &[
                ("accepting connections", 100.0),
                ("rejecting connections on daemon MTA: load average: 12", 15.0),
                ("rejecting connections on daemon MTA: 20 children, max 20", 1.0),
                ("deferring connections on daemon MTA: 3 per second", 0.2),
                ("delaying connections on daemon MTA: load average=9 >= 8", 2.0),
            ],
            0,
        );
        let found: Vec<(&str, Severity)> = found.iter().map(|(rule, severity)| (rule.as_str(), *severity)).collect();
        let expected = [
            ("refused-load", Severity::High),
            ("delayed-load", Severity::Medium),
            ("refused-children", Severity::Medium),
            ("deferred-rate", Severity::Low),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_overflow_is_grave_and_a_quiet_daemon_says_nothing() {
        assert_eq!(rules(&[("accepting connections", 9.0)], 2), [(OVERFLOW.to_owned(), Severity::High)]);
        assert!(rules(&[("accepting connections", 9.0)], 0).is_empty());
    }
}
