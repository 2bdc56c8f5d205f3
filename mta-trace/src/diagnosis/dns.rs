//! Findings of name look-ups: silent, slow, failing name servers.
//!
//! In: the `dns` waits of one command on one server. Out: one finding with all their names. A server is called
//! silent only if it answered none of these questions; what it answered in part is a rule of its own. Not here: which look-ups a mail server makes (`mta/`).

use super::{
    Case, Remedy, Text,
    resolver::saving,
    text::{count, ended, host_port, list, seconds, shell},
};
use crate::mta::Topic;
use crate::proto::smtp::domain_of;
use crate::report::{Command, Dns, DnsServer, Outcome, Session, Verb, Wait};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const TIMEOUT: &str = "dns-timeout";
const UNFINISHED: &str = "dns-unfinished";
const SERVER_SILENT: &str = "dns-server-silent";
const TRUNCATED: &str = "dns-truncated";
const PARTIAL: &str = "dns-partial";
const UNREACHABLE: &str = "dns-unreachable";
const ERROR: &str = "dns-error";
const SLOW: &str = "dns-slow";

/// Names of one question type are spelled out up to this many.
const NAMES: usize = 4;

pub fn rule(_: &Session, _: &Command, wait: &Wait) -> &'static str {
    let is_truncated = target_server(wait).is_some_and(|server| server.truncated);
    let is_unanswered = wait.dns.as_ref().is_some_and(|dns| dns.unanswered.is_some());
    let is_answered = target_server(wait).is_some_and(|server| server.answered);
    match wait.outcome {
        Outcome::Unfinished | Outcome::Interrupted => UNFINISHED,
        Outcome::Timeout | Outcome::Refused | Outcome::Unreachable | Outcome::Reset if is_truncated => TRUNCATED,
        Outcome::Timeout if is_unanswered => PARTIAL,
        // It answered SERVFAIL or the like, and was asked again in vain.
        Outcome::Timeout if is_answered => ERROR,
        Outcome::Timeout => TIMEOUT,
        Outcome::Refused | Outcome::Unreachable | Outcome::Reset => UNREACHABLE,
        Outcome::Ok | Outcome::Denied | Outcome::Error if target_server(wait).is_some_and(|server| !server.answered) => SERVER_SILENT,
        Outcome::Error => ERROR,
        Outcome::Ok | Outcome::Denied => SLOW,
    }
}

/// The server on which most of the time was spent.
fn target_server(wait: &Wait) -> Option<&DnsServer> {
    wait.dns.as_ref()?.servers.iter().find(|server| Some(server.address.as_str()) == wait.target.as_deref())
}

pub fn explain(case: &Case) -> Text {
    let questions = questions(case.waits);
    let target = case.target_text();
    let opening = case.opening();
    let attempts = attempts(case.waits);
    let tried = format!("{opening} for DNS: {questions}, {attempts}");
    let summary = match case.rule {
        UNFINISHED => format!("{tried}, not answered by {target} {}", case.when_left()),
        TIMEOUT => format!("{tried}, never answered by {}", asked(case)),
        SERVER_SILENT => {
            format!("{opening} for DNS: {questions} not answered by {target}, which is asked before {} that answered", list(&answering(case)))
        }
        TRUNCATED => {
            let tcp = if case.waits.iter().all(|wait| wait.outcome == Outcome::Timeout) { "never answered" } else { "could not be reached" };
            format!("{opening} for DNS: {questions}, answered by {target} over UDP, but truncated; over TCP it {tcp}")
        }
        PARTIAL => format!("{opening} for DNS: {questions} and what was asked at once with it, {attempts}, answered only in part by {target}"),
        UNREACHABLE => format!("{tried}, {target} could not be reached"),
        ERROR => match rcodes(case) {
            codes if codes.is_empty() => format!("{opening} for DNS: {questions}, which failed with an error, without an answer of {target}"),
            codes => format!("{opening} for DNS: {questions}, answered {} by {target}", list(&codes)),
        },
        _ => {
            let tcp = if case.waits.iter().any(|wait| is_tcp_after_truncated(wait)) { ", over TCP after a truncated answer" } else { "" };
            format!("{opening} for DNS: {questions}, answered by {target} only after {}{tcp}", seconds(slowest(case)))
        }
    };
    Text { summary, evidence: evidence(case), remedy: remedy(case), check: check(case).or_else(|| Some("cat /etc/resolv.conf".to_owned())) }
}

fn is_tcp_after_truncated(wait: &Wait) -> bool {
    target_server(wait).is_some_and(|server| server.truncated && server.tcp_attempts.is_some())
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
    let is_told = case.waits.iter().any(|wait| wait.dns.is_some());
    if is_told { list(&servers(case, |answered| !answered)) } else { case.target_text().to_owned() }
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

fn rcodes<'a>(case: &Case<'a>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for rcode in case.waits.iter().filter_map(|wait| wait.dns.as_ref()?.rcode.as_deref()) {
        if !found.contains(&rcode) {
            found.push(rcode);
        }
    }
    found
}

fn slowest(case: &Case) -> f64 {
    case.waits.iter().map(|wait| wait.elapsed_s).fold(0.0, f64::max)
}

/// What the question is for, in brackets.
fn what_for(dns: &Dns) -> String {
    match (dns.purpose.as_deref(), &dns.zone) {
        (Some("dnsbl"), Some(zone)) => format!(" (the blocklist {zone})"),
        (Some("dkim-key"), _) => " (the key of a DKIM signature)".to_owned(),
        (Some("dmarc-policy"), _) => " (a DMARC policy)".to_owned(),
        (Some("spf"), _) => " (an SPF record)".to_owned(),
        _ => String::new(),
    }
}

/// That the resolver's search list made the name, where it is that of the command's line with a suffix of the list.
fn by_search_list(case: &Case, dns: &Dns) -> String {
    let domain = case.command.line.as_deref().and_then(|line| domain_of(case.command.verb, line));
    let suffix = domain.and_then(|domain| case.settings.search_suffix(domain, &dns.qname));
    suffix.map_or_else(String::new, |suffix| format!(" ({} with {}, a suffix of the search list)", shown(domain.unwrap_or_default()), shown(suffix)))
}

fn evidence(case: &Case) -> String {
    let look_ups: Vec<String> = case
        .waits
        .iter()
        .filter_map(|wait| {
            let dns = wait.dns.as_ref()?;
            let answer = answer(wait, dns);
            let name = format!("{}{}{}", shown(&dns.qname), what_for(dns), by_search_list(case, dns));
            if let [server] = dns.servers.as_slice() {
                let attempts = count(u64::from(server.attempts), "attempt");
                let (address, elapsed) = (&server.address, seconds(wait.elapsed_s));
                let tcp = server.tcp_attempts.map(|n| format!(" ({n} over TCP)")).unwrap_or_default();
                return Some(format!("{} {name}: {answer} from {address}, {attempts}{tcp}, {elapsed}", dns.qtype));
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
        _ if is_explained(case) => String::new(),
        Some(address) if STUBS.contains(&address) => {
            format!("; {address} is systemd-resolved, a stub resolver of this machine: its upstream is not seen")
        }
        Some(address) => format!("; {address} is a name server on this machine: whom it asks in turn is not seen"),
        None => String::new(),
    };
    let number = count(u64::try_from(case.waits.len()).unwrap_or(u64::MAX), "look-up");
    let colon = if look_ups.is_empty() { "" } else { ": " };
    let saving = if matches!(case.rule, TIMEOUT | SERVER_SILENT) { saving(case.waits, case.elapsed_s) } else { None };
    format!("{number}{colon}{}{stub}{}{}{}", look_ups.join("; "), case.timer(), case.traces(), saving.unwrap_or_default())
}

/// What came back.
fn answer(wait: &Wait, dns: &Dns) -> String {
    let rcode = dns.rcode.as_deref().unwrap_or("no answer");
    let is_truncated = target_server(wait).is_some_and(|server| server.truncated);
    match dns.unanswered {
        _ if is_truncated && wait.outcome != Outcome::Ok => format!("a truncated answer and then nothing ({})", ended(wait.outcome)),
        Some(n) => format!("{rcode}, and no answer to {}", count(u64::from(n), "more question")),
        None => rcode.to_owned(),
    }
}

/// Where `systemd-resolved` listens (systemd-resolved.service(8)).
const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// A name server on this machine.
fn local(target: Option<&str>) -> Option<IpAddr> {
    let address: SocketAddr = target?.parse().ok()?;
    address.ip().is_loopback().then(|| address.ip())
}

/// Whether it is known what the name server on this machine was waiting for.
fn is_explained(case: &Case) -> bool {
    case.waits.iter().any(|wait| !wait.inner.is_empty())
}

fn remedy(case: &Case) -> Remedy {
    let server = match (local(case.target), case.target.and_then(host_port)) {
        (Some(address), _) if STUBS.contains(&address) => {
            "`resolvectl status` names the servers that systemd-resolved asks: repair or replace the one that fails".to_owned()
        }
        (Some(address), _) => format!("find out what the name server on this machine ({address}) waits for: its log, its forwarders"),
        (None, Some((host, _))) => match case.rule {
            ERROR => format!("find out why {host} fails for this name (its zone, its forwarder, DNSSEC)"),
            TRUNCATED => format!(
                "let TCP port 53 of {host} through: an answer that does not fit into UDP comes that way (RFC 7766), and some firewalls drop it"
            ),
            PARTIAL => format!("find out why {host} answers only one of the two questions (A and AAAA) that are asked at once"),
            SLOW => format!("find out why {host} is slow for this name (its forwarder, the zone's own servers)"),
            _ => match case.helper {
                Some(helper) => format!("repair the name server {host}, or let {helper} ask another one (its forwarders, or the zone's own servers)"),
                None => format!("repair the name server {host} or take it out of /etc/resolv.conf"),
            },
        },
        (None, None) => "look at the name servers in /etc/resolv.conf".to_owned(),
    };
    // Why the mail server asks is told with its own wait.
    if case.helper.is_some() {
        return Remedy::from(server);
    }
    let is_searched = case.waits.iter().filter_map(|wait| wait.dns.as_ref()).any(|dns| !by_search_list(case, dns).is_empty());
    let search = if is_searched {
        "; `search` in /etc/resolv.conf makes further names of each one that is not found: name only zones that are needed"
    } else {
        ""
    };
    let advice = topics(case).into_iter().chain([Topic::Resolver]).map(|topic| case.advice(topic));
    // A name server on this machine that waited itself is not what has to be repaired.
    let server = Some(server + search).filter(|_| !is_explained(case)).map(Remedy::from);
    server.into_iter().chain(advice).reduce(Remedy::and).unwrap_or_else(|| Remedy::from(String::new()))
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
        _ if case.is_behind => None,
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
    let tcp = if target_server(slowest).is_some_and(|server| server.truncated) { " +tcp" } else { "" };
    Some(format!("dig @{host}{port} {quoted} {}{tcp} +tries=1 +time=5", shell(qtype)))
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
