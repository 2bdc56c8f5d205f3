//! Chains in findings: what the process at the far end of a wait was itself waiting for, and that one's far end.
//!
//! In: what a rule says about its case. Out: the same, with the chain in its summary, and remedy and check of its last link, since that is what
//! has to be repaired. Not here: how chains are found (`analysis/chains`).

use super::{Case, FAMILIES, OTHER, Settings, Text, text};
use crate::mta;
use crate::report::{Cause, Outcome, Wait};

/// A far end's wait explains one of which it is at least this part.
const PART: f64 = 0.5;

/// Adds the chain of the longest wait to what a rule says.
pub fn explain(case: &Case<'_>, said: Text) -> Text {
    let Some(longest) = case.waits.iter().max_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s)) else { return said };
    let links = links(longest);
    let Some(last) = links.last().map(|link| link.longest) else { return unclear(longest, said) };
    let holders = std::iter::once(*longest).chain(links.iter().map(|link| link.longest));
    let part = |(of, link): (&Wait, &Link<'_>)| {
        let more = if link.count > 1 { format!(" and {} more of its kind", link.count - 1) } else { String::new() };
        format!("{} {} for {}{more}", who(of).unwrap_or("it"), text::seconds(link.elapsed_s), name(link.longest))
    };
    let chain: Vec<String> = holders.zip(&links).map(part).collect();
    let holder = who(links.len().checked_sub(2).and_then(|at| links.get(at)).map_or(*longest, |link| link.longest));
    let own = of_last(case, last, holder);
    Text {
        summary: format!("{}; of that, {}", said.summary, chain.join(", and ")),
        evidence: said.evidence,
        remedy: match holder {
            Some(who) => said.remedy.behind(&format!("what {who} waits for: "), own.remedy),
            None => said.remedy,
        },
        check: own.check.or(said.check),
    }
}

/// Waits inside of a wait that have one cause.
struct Link<'a> {
    longest: &'a Wait,
    elapsed_s: f64,
    count: usize,
}

/// What explains a wait, one inside another: of each the cause that takes most of it.
fn links(wait: &Wait) -> Vec<Link<'_>> {
    let of_cause = |cause| wait.inner.iter().filter(move |inner| inner.cause == cause);
    let sum = |longest: &Wait| together(of_cause(longest.cause));
    let by_sum = |a: &&Wait, b: &&Wait| sum(a).total_cmp(&sum(b)).then(a.elapsed_s.total_cmp(&b.elapsed_s));
    let Some(longest) = wait.inner.iter().max_by(by_sum).filter(|longest| sum(longest) >= wait.elapsed_s * PART) else { return Vec::new() };
    let link = Link { longest, elapsed_s: sum(longest), count: of_cause(longest.cause).count() };
    std::iter::once(link).chain(links(longest)).collect()
}

/// How long at least one of several waits lasted, s: some may be side by side.
fn together<'a>(waits: impl Iterator<Item = &'a Wait>) -> f64 {
    let mut spans: Vec<(f64, f64)> = waits.map(|wait| (wait.start_s, wait.start_s + wait.elapsed_s)).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut end) = (0.0, f64::MIN);
    for (from, to) in spans {
        sum += (to - from.max(end)).max(0.0);
        end = end.max(to);
    }
    sum
}

/// Who is at the far end: of the mail server's own processes what it is, of others what it is called.
fn who(wait: &Wait) -> Option<&str> {
    let peer = wait.peer.as_ref()?;
    Some(wait.target.as_deref().filter(|_| wait.cause == Cause::Mta).unwrap_or(&peer.comm))
}

/// Why nothing is said about the far end, where that is known.
fn unclear(wait: &Wait, said: Text) -> Text {
    let why =
        wait.peer.as_ref().and_then(|peer| peer.unclear.as_ref().map(|why| format!("; of {} it is not told what it waited for: {why}", peer.comm)));
    Text { evidence: format!("{}{}", said.evidence, why.unwrap_or_default()), ..said }
}

/// What the last link's own rule says. It is another program, unless it is one of the mail server's: then its settings are the server's.
fn of_last(case: &Case<'_>, last: &Wait, helper: Option<&str>) -> Text {
    let family = FAMILIES.iter().find(|family| family.cause == last.cause).unwrap_or(&OTHER);
    let is_own = case.waits.iter().any(|wait| matches!(wait.cause, Cause::Mta | Cause::Map)) && last.cause != Cause::Dns;
    let mta = if is_own { case.mta } else { mta::by_name("unknown") };
    // How another program and its resolver are set up is not known.
    let unknown = Settings::default();
    let settings = if is_own { case.settings } else { &unknown };
    let rule = (family.rule)(case.session, case.command, last);
    let target = (family.target)(case.command, last);
    let waits = [last];
    (family.explain)(&Case { rule, target: target.as_deref(), waits: &waits, elapsed_s: last.elapsed_s, helper, mta, settings, ..*case })
}

/// `dns TXT s1._domainkey.example.com of 192.0.2.53:53 (not answered)`, `milter /run/milter`.
fn name(wait: &Wait) -> String {
    let target = wait.target.as_deref().unwrap_or("an unknown peer");
    if let Some(dns) = &wait.dns {
        let answered = if dns.rcode.is_some() { "" } else { " (not answered)" };
        let what = match dns.purpose.as_deref() {
            Some("dkim-key") => ", the key of a DKIM signature,",
            Some("spf") => ", an SPF record,",
            _ => "",
        };
        return format!("dns {} {}{what} of {target}{answered}", dns.qtype, dns.qname);
    }
    let outcome = if wait.outcome == Outcome::Ok { String::new() } else { format!(" ({})", text::ended(wait.outcome)) };
    match (wait.cause, wait.waited_for()) {
        (Cause::Sleep | Cause::Unknown, _) | (_, None) => format!("{}{outcome}", wait.cause.name()),
        (_, Some(whom)) => format!("{} {whom}{outcome}", wait.cause.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_side_by_side_is_counted_once() {
        let wait = |start_s: f64, elapsed_s: f64| Wait {
            start_s,
            ..crate::diagnosis::tests::wait(Cause::Dns, "192.0.2.53:53", elapsed_s, Outcome::Timeout)
        };
        let sum = |waits: &[Wait]| together(waits.iter());
        assert!((sum(&[wait(0.0, 5.0), wait(1.5, 3.5)]) - 5.0).abs() < 1e-9);
        assert!((sum(&[wait(3.0, 1.0), wait(0.0, 1.0), wait(0.5, 1.0)]) - 2.5).abs() < 1e-9);
        assert!(sum(&[]).abs() < 1e-9);
    }
}
