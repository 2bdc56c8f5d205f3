//! Findings of name look-ups: silent, slow, failing name servers.
//!
//! In: the `dns` waits of one command on one server. Out: one finding with all their names. A server is called
//! silent only if it answered none of these questions. Not here: which look-ups a mail server makes (`mta/`).

use super::{
    Case, Text,
    mta::Topic,
    text::{count, host_port, list, seconds, shell},
};
use crate::report::{Command, Dns, Outcome, Verb, Wait};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const TIMEOUT: &str = "dns-timeout";
const SERVER_SILENT: &str = "dns-server-silent";
const UNREACHABLE: &str = "dns-unreachable";
const ERROR: &str = "dns-error";
const SLOW: &str = "dns-slow";

/// Names of one question type are spelled out up to this many.
const NAMES: usize = 4;

pub fn rule(_: &Command, wait: &Wait) -> &'static str {
    match wait.outcome {
        Outcome::Refused | Outcome::Unreachable | Outcome::Reset => UNREACHABLE,
        Outcome::Timeout | Outcome::Unfinished | Outcome::Interrupted => TIMEOUT,
        Outcome::Ok | Outcome::Denied | Outcome::Error => {
            let silent = wait.dns.as_ref().is_some_and(|dns| is_silent(dns, wait.target.as_deref()));
            match (silent, wait.outcome == Outcome::Error) {
                (true, _) => SERVER_SILENT,
                (false, true) => ERROR,
                (false, false) => SLOW,
            }
        }
    }
}

fn is_silent(dns: &Dns, target: Option<&str>) -> bool {
    dns.servers.iter().any(|server| Some(server.address.as_str()) == target && !server.answered)
}

pub fn explain(case: &Case) -> Text {
    let questions = questions(case.waits);
    let target = case.target_text();
    let opening = case.opening();
    let attempts = attempts(case.waits);
    let unfinished = case.waits.iter().all(|wait| wait.outcome == Outcome::Unfinished);
    let summary = match case.rule {
        TIMEOUT if unfinished => {
            format!("{opening} for DNS: {questions}, {attempts}, not answered by {target} when the trace of it ended")
        }
        TIMEOUT => format!("{opening} for DNS: {questions}, {attempts}, never answered by {}", asked(case)),
        SERVER_SILENT => {
            format!("{opening} for DNS: {questions} not answered by {target}, which is asked before {} that answered", list(&answering(case)))
        }
        UNREACHABLE => format!("{opening} for DNS: {questions}, {attempts}, {target} could not be reached"),
        ERROR => format!("{opening} for DNS: {questions}, answered {} by {target}", rcodes(case)),
        _ => format!("{opening} for DNS: {questions}, answered by {target} only after {}", seconds(slowest(case))),
    };
    Text { summary, evidence: evidence(case), remedy: remedy(case), check: check(case) }
}

/// `AAAA and A of example.com`; several names: `PTR of x, A of y`.
fn questions(waits: &[&Wait]) -> String {
    let mut names: Vec<(&str, Vec<&str>)> = Vec::new();
    for dns in waits.iter().filter_map(|wait| wait.dns.as_ref()) {
        let name = names.iter_mut().find(|(name, _)| *name == dns.qname);
        match name {
            Some((_, types)) if types.contains(&dns.qtype.as_str()) => {}
            Some((_, types)) => types.push(&dns.qtype),
            None => names.push((&dns.qname, vec![&dns.qtype])),
        }
    }
    if names.is_empty() {
        return "a question that could not be read".to_owned();
    }
    let rest = names.len().saturating_sub(NAMES);
    let mut texts: Vec<String> = names.iter().take(NAMES).map(|(name, types)| format!("{} of {}", list(types), shown(name))).collect();
    if rest > 0 {
        texts.push(count(u64::try_from(rest).unwrap_or(u64::MAX), "more name"));
    }
    list(&texts)
}

/// The root has an empty name.
fn shown(qname: &str) -> &str {
    if qname.is_empty() { "." } else { qname }
}

/// `two attempts`, `two attempts each`, `five attempts in all`.
fn attempts(waits: &[&Wait]) -> String {
    let numbers: Vec<u64> = waits.iter().map(|wait| u64::from(wait.attempts.unwrap_or(1))).collect();
    match numbers.as_slice() {
        [] => count(0, "attempt"),
        [only] => count(*only, "attempt"),
        [first, rest @ ..] if rest.iter().all(|number| number == first) => format!("{} each", count(*first, "attempt")),
        all => format!("{} in all", count(all.iter().sum(), "attempt")),
    }
}

/// Every server that was asked in vain.
fn asked(case: &Case) -> String {
    let servers = servers(case, |answered| !answered);
    if servers.is_empty() { case.target_text().to_owned() } else { list(&servers) }
}

fn answering<'a>(case: &Case<'a>) -> Vec<&'a str> {
    servers(case, |answered| answered)
}

fn servers<'a>(case: &Case<'a>, wanted: impl Fn(bool) -> bool) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for server in case.waits.iter().filter_map(|wait| wait.dns.as_ref()).flat_map(|dns| &dns.servers) {
        if wanted(server.answered) && !found.contains(&server.address.as_str()) {
            found.push(&server.address);
        }
    }
    found
}

fn rcodes(case: &Case) -> String {
    let mut found: Vec<&str> = Vec::new();
    for rcode in case.waits.iter().filter_map(|wait| wait.dns.as_ref()?.rcode.as_deref()) {
        if !found.contains(&rcode) {
            found.push(rcode);
        }
    }
    if found.is_empty() { "with an error".to_owned() } else { list(&found) }
}

fn slowest(case: &Case) -> f64 {
    case.waits.iter().map(|wait| wait.elapsed_s).fold(0.0, f64::max)
}

fn evidence(case: &Case) -> String {
    let look_ups: Vec<String> = case
        .waits
        .iter()
        .filter_map(|wait| {
            let dns = wait.dns.as_ref()?;
            let answer = dns.rcode.as_deref().unwrap_or("no answer");
            let name = shown(&dns.qname);
            if let [server] = dns.servers.as_slice() {
                let attempts = count(u64::from(server.attempts), "attempt");
                let (address, elapsed) = (&server.address, seconds(wait.elapsed_s));
                return Some(format!("{} {name}: {answer} from {address}, {attempts}, {elapsed}", dns.qtype));
            }
            let servers: Vec<String> = dns
                .servers
                .iter()
                .map(|server| {
                    let waited = server.waited_s.map(|s| format!(" in {}", seconds(s))).unwrap_or_default();
                    let answered = if server.answered { "answered" } else { "silent" };
                    format!("{} {}{waited}, {answered}", server.address, count(u64::from(server.attempts), "attempt"))
                })
                .collect();
            Some(format!("{} {name}: {answer} in {} ({})", dns.qtype, seconds(wait.elapsed_s), servers.join("; ")))
        })
        .collect();
    let stub = match local(case.target) {
        Some(address) if STUBS.contains(&address) => {
            format!("; {address} is systemd-resolved, a stub resolver of this machine: its upstream is not seen")
        }
        Some(address) => format!("; {address} is a name server on this machine: whom it asks in turn is not seen"),
        None => String::new(),
    };
    let number = count(u64::try_from(case.waits.len()).unwrap_or(u64::MAX), "look-up");
    let colon = if look_ups.is_empty() { "" } else { ": " };
    format!("{number}{colon}{}{stub}{}", look_ups.join("; "), case.traces())
}

/// Where `systemd-resolved` listens (systemd-resolved.service(8)).
const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// A name server on this machine.
fn local(target: Option<&str>) -> Option<IpAddr> {
    let address: SocketAddr = target?.parse().ok()?;
    address.ip().is_loopback().then(|| address.ip())
}

fn remedy(case: &Case) -> String {
    let server = match (local(case.target), case.target.and_then(host_port)) {
        (Some(address), _) if STUBS.contains(&address) => {
            "`resolvectl status` names the servers that systemd-resolved asks: repair or replace the one that fails".to_owned()
        }
        (Some(address), _) => format!("find out what the name server on this machine ({address}) waits for: its log, its forwarders"),
        (None, Some((host, _))) => match case.rule {
            ERROR => format!("find out why {host} fails for this name (its zone, its forwarder, DNSSEC)"),
            SLOW => format!("find out why {host} is slow for this name (its forwarder, the zone's own servers)"),
            _ => format!("repair the name server {host} or take it out of /etc/resolv.conf"),
        },
        (None, None) => "look at the name servers in /etc/resolv.conf".to_owned(),
    };
    let advice = case.advice;
    let mut parts = vec![server];
    for topic in topics(case).into_iter().chain([Topic::Resolver]) {
        parts.push(advice(topic).to_owned());
    }
    parts.join("; ")
}

/// Why the mail server asked, as far as the question itself shows it.
fn topics(case: &Case) -> Vec<Topic> {
    let mut topics = Vec::new();
    for dns in case.waits.iter().filter_map(|wait| wait.dns.as_ref()) {
        let topic = topic(case, dns);
        if let Some(topic) = topic.filter(|it| !topics.contains(it)) {
            topics.push(topic);
        }
    }
    topics
}

fn topic(case: &Case, dns: &Dns) -> Option<Topic> {
    let client = reversed(&case.session.client);
    let server = reversed(&case.session.server);
    let name = dns.qname.to_ascii_lowercase();
    if name.ends_with(".in-addr.arpa") || name.ends_with(".ip6.arpa") {
        let is_of = |address: &Option<String>| address.as_ref().is_some_and(|it| name.starts_with(&format!("{it}.")));
        return match (is_of(&client), is_of(&server)) {
            (true, _) => Some(Topic::ClientPtr),
            (false, true) => Some(Topic::OwnPtr),
            (false, false) => None,
        };
    }
    if client.is_some_and(|it| name.starts_with(&format!("{it}."))) {
        return Some(Topic::Blocklist);
    }
    match case.command.verb {
        Verb::Connect => Some(Topic::ForwardOfClient),
        Verb::Mail | Verb::Rcpt if dns.qtype == "MX" => Some(Topic::MailExchanger),
        Verb::Mail | Verb::Rcpt if dns.qtype.split('+').all(|it| it == "A" || it == "AAAA") => Some(Topic::Canonify),
        _ => None,
    }
}

/// The address the way reverse zones and blocklists write it, without the zone.
fn reversed(target: &str) -> Option<String> {
    let address: SocketAddr = target.parse().ok()?;
    let labels: Vec<String> = match address.ip().to_canonical() {
        IpAddr::V4(it) => it.octets().iter().rev().map(ToString::to_string).collect(),
        IpAddr::V6(it) => it.octets().iter().rev().flat_map(|octet| [octet & 15, octet >> 4]).map(|nibble| format!("{nibble:x}")).collect(),
    };
    Some(labels.join("."))
}

/// The slowest question, asked once more, of this very server.
fn check(case: &Case) -> Option<String> {
    let (host, port) = case.target.and_then(host_port)?;
    // Of equals the first: what is asked first delays the rest.
    let slowest = case.waits.iter().rev().max_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s))?;
    let dns = slowest.dns.as_ref()?;
    let qtype = dns.qtype.split('+').next_back().unwrap_or("A");
    let name = shown(&dns.qname);
    // dig takes a word that begins like this for an option, a server or a switch.
    let quoted = if name.starts_with(['-', '+', '@']) { format!("-q {}", shell(name)) } else { shell(name) };
    let port = if port == 53 { String::new() } else { format!(" -p {port}") };
    Some(format!("dig @{host}{port} {quoted} {} +tries=1 +time=5", shell(qtype)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_backwards() {
        assert_eq!(reversed("10.99.0.1:54712").as_deref(), Some("1.0.99.10"));
        assert_eq!(reversed("[2001:db8::1]:25").as_deref(), Some("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"));
        assert_eq!(reversed("/run/x"), None);
    }
}
