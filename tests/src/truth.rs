//! How long each expected wait of a scenario really was: what its score is held against.
//!
//! In comes a scenario with the journal of one run, or the scenario alone; out come seconds, and by which right they are known. What the
//! neighbours noted in the run of a golden log lies beside it (`NAME.truth.json`). Not here: what the tracer says.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::client::Played;
use crate::journal::Event;
use crate::measure::measure;
use crate::scenario::{DnsAction, DnsRule, ExpectWait, Scenario};
use crate::span::{assign, spans};

/// The resolver's time-out, unless `options` of resolv.conf say another.
const RESOLVER_S: f64 = 5.0;

/// What the neighbours measured, for each expected command and each of its expected waits; null where nobody noted it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Truth(Vec<Vec<Option<f64>>>);

/// By which right a time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The neighbour's own journal.
    Journal,
    /// The fault's definition: how late it answers, when the server's own timer ends.
    Definition,
    /// Only the command's time is known (`about_s`), of which the waits are a part.
    Command,
    /// Nothing says it.
    Nothing,
}

impl Truth {
    /// From one run.
    pub fn of(scenario: &Scenario, played: &Played, events: &[Event]) -> Self {
        let verbs: Vec<String> = scenario.expect.commands.iter().map(|command| command.verb.clone()).collect();
        let all = spans(played);
        let commands = scenario.expect.commands.iter().zip(assign(&verbs, &all));
        let of_wait = |span, wait: &ExpectWait| measure(events, span, wait).ok().map(|measured| measured.elapsed_s);
        Self(commands.map(|(expected, span)| expected.waits.iter().map(|wait| span.and_then(|span| of_wait(span, wait))).collect()).collect())
    }

    /// Reads one that was kept; `None` if there is none.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).map(Some).with_context(|| format!("parse {}", path.display()))
    }

    /// Keeps it.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self).context("write seconds")?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }

    fn seconds(&self, command: usize, wait: usize) -> Option<f64> {
        *self.0.get(command)?.get(wait)?
    }
}

/// The best that is known of a wait's time, of the n-th wait of the n-th expected command.
pub fn known(scenario: &Scenario, truth: Option<&Truth>, (command, wait): (usize, usize)) -> (Source, Option<f64>) {
    let Some(expected) = scenario.expect.commands.get(command) else { return (Source::Nothing, None) };
    let Some(of_wait) = expected.waits.get(wait) else { return (Source::Nothing, None) };
    // What the scenario itself says is no measurement, also where a run repeats it.
    if let Some(seconds) = of_wait.elapsed_s {
        return (Source::Definition, Some(seconds));
    }
    if let Some(seconds) = truth.and_then(|truth| truth.seconds(command, wait)) {
        return (Source::Journal, Some(seconds));
    }
    if let Some(seconds) = defined_s(scenario, of_wait) {
        return (Source::Definition, Some(seconds));
    }
    expected.about_s.map_or((Source::Nothing, None), |about_s| (Source::Command, Some(about_s)))
}

/// What the fault's definition says of a wait, where that is one number.
fn defined_s(scenario: &Scenario, wait: &ExpectWait) -> Option<f64> {
    let Scenario { dns, ident, milter, saslauthd, disk, spamd, policy, socket_map, mailer, .. } = scenario;
    let seconds = match wait.cause.as_str() {
        "dns" => dns_s(&dns.rules, &dns.options, wait)?,
        "ident" => ident.delay_s,
        "milter" => milter.as_ref()?.stages.get(wait.stage.as_ref()?)?.delay_s,
        "sasl" => saslauthd.as_ref()?.delay_s,
        "policy" => policy.as_ref()?.delay_s,
        "content-filter" => spamd.as_ref()?.delay_s,
        "network" => socket_map.as_ref()?.delay_s,
        "child" => mailer.as_ref()?.delay_s,
        "spool-sync" | "file-io" => {
            let wanted = wait.operation.unwrap_or_default();
            disk.as_ref()?.delays.iter().find(|delay| delay.operation == wanted)?.delay_s
        }
        _ => return None,
    };
    // A neighbour that is not late at all says nothing of how long it takes.
    (seconds > 0.0).then_some(seconds)
}

fn dns_s(rules: &[DnsRule], options: &str, wait: &ExpectWait) -> Option<f64> {
    let (qtype, qname) = wait.question.as_ref()?.split_once(' ')?;
    let is_meant = |rule: &&DnsRule| {
        let is_name = rule.name.is_empty() || rule.name == qname || rule.name.starts_with('.') && qname.ends_with(&rule.name);
        is_name && (rule.qtype.is_empty() || rule.qtype == qtype)
    };
    let rule = rules.iter().find(is_meant)?;
    let is_by_default = options.is_empty() && rule.attempt.is_none() && rule.server.is_none();
    match rule.action {
        DnsAction::Silent if is_by_default && wait.outcome.as_deref() == Some("timeout") => Some(RESOLVER_S * f64::from(wait.attempts?)),
        DnsAction::Answer if rule.attempt.is_none() && rule.server.is_none() => Some(rule.delay_s),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(text: &str) -> Scenario {
        toml::from_str(text).expect("a scenario")
    }

    #[test]
    fn a_neighbours_clock_goes_before_the_definition() {
        let text = r#"
            policy.delay_s = 1.5
            expect.commands = [{ verb = "RCPT", about_s = 2.0, waits = [{ cause = "policy" }, { cause = "sleep", elapsed_s = 0.5 }, { cause = "mta" }] }]"#;
        let (scenario, truth) = (scenario(text), Truth(vec![vec![Some(1.6), Some(0.5), None]]));
        assert_eq!(known(&scenario, Some(&truth), (0, 0)), (Source::Journal, Some(1.6)));
        assert_eq!(known(&scenario, None, (0, 0)), (Source::Definition, Some(1.5)));
        assert_eq!(known(&scenario, Some(&truth), (0, 1)), (Source::Definition, Some(0.5)));
        assert_eq!(known(&scenario, Some(&truth), (0, 2)), (Source::Command, Some(2.0)));
        assert_eq!(known(&scenario, None, (1, 0)), (Source::Nothing, None));
    }

    #[test]
    fn a_silent_name_server_costs_the_resolvers_time_out_each_time() {
        let text = r#"
            dns.rules = [{ name = ".in-addr.arpa", type = "PTR", action = "silent" }, { name = "a.test", delay_s = 7.0 }, { name = "b.test", action = "servfail" }]
            expect.commands = [{ verb = "CONNECT", waits = [
              { cause = "dns", question = "PTR 1.0.99.10.in-addr.arpa", outcome = "timeout", attempts = 2 },
              { cause = "dns", question = "A a.test" }, { cause = "dns", question = "A b.test" }] }]"#;
        let scenario = scenario(text);
        let seconds: Vec<Option<f64>> = (0..3).map(|wait| known(&scenario, None, (0, wait)).1).collect();
        assert_eq!(seconds, [Some(10.0), Some(7.0), None]);
    }
}
