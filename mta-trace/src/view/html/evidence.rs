//! What is known of a wait beside its name and its time: what people see who ask for it.
//!
//! In: a wait. Out: pairs of a label and a text. Not here: escaping, which the templates do.

use crate::report::{Dns, DnsServer, Milter, Peer, Wait};
use crate::view::words;

/// A label and what stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// `blocked in`.
    pub label: &'static str,
    /// `poll (fd 16: unix public/cleanup)`.
    pub text: String,
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact { label, text: text.into() }
}

/// All that is known.
pub fn of(wait: &Wait) -> Vec<Fact> {
    // Exhaustive: what a wait can tell must find its place here.
    let Wait { cause, target, start_s: _, elapsed_s: _, outcome: _, attempts, dns, milter, timer_s, connected, syscalls, descriptor, peer, inner: _ } =
        wait;
    let mut facts = vec![fact("cause", cause.name())];
    facts.extend(target.iter().map(|target| fact("target", target)));
    let outcome = words::outcome(wait);
    facts.push(fact("outcome", if outcome.is_empty() { "ok".to_owned() } else { outcome }));
    // Of a look-up they are told by server.
    facts.extend(attempts.filter(|n| *n > 1 && dns.is_none()).map(|n| fact("attempts", n.to_string())));
    facts.extend(dns.iter().flat_map(of_look_up));
    facts.extend(milter.iter().flat_map(of_milter));
    facts.extend(timer_s.map(|s| fact("ended by", format!("a timer of {s:.2} s of the process itself"))));
    facts.extend(connected.map(|it| fact("connection", if it { "came about" } else { "did not come about" })));
    facts.extend(blocked_in(syscalls, descriptor.as_deref()));
    facts.extend(peer.iter().flat_map(of_peer));
    facts
}

fn blocked_in(syscalls: &[String], descriptor: Option<&str>) -> Option<Fact> {
    let descriptor = descriptor.map(|it| format!("({it})"));
    let parts: Vec<String> = (!syscalls.is_empty()).then(|| syscalls.join(", ")).into_iter().chain(descriptor).collect();
    (!parts.is_empty()).then(|| fact("blocked in", parts.join(" ")))
}

fn of_look_up(dns: &Dns) -> Vec<Fact> {
    let Dns { qname, qtype, rcode, servers, unanswered, purpose, zone } = dns;
    let name = if qname.is_empty() { "." } else { qname };
    let mut facts = vec![fact("question", format!("{qtype} {name}"))];
    facts.push(fact("answer", rcode.as_deref().unwrap_or("none")));
    facts.extend(servers.iter().map(|it| fact("name server", server(it))));
    facts.extend(unanswered.map(|n| fact("not answered", format!("{n} of the questions that were asked together"))));
    let purpose = purpose.as_deref().map(|purpose| match purpose {
        "dnsbl" => "a blocklist",
        "dkim-key" => "the key of a DKIM signature",
        "dmarc-policy" => "a DMARC policy",
        other => other,
    });
    let zone = zone.as_deref().map(|zone| format!(" {zone}")).unwrap_or_default();
    facts.extend(purpose.map(|purpose| fact("asked for", format!("{purpose}{zone}"))));
    facts
}

fn server(server: &DnsServer) -> String {
    let DnsServer { address, attempts, answered, waited_s, tcp_attempts, truncated } = server;
    let asked = if *attempts == 1 { "asked once".to_owned() } else { format!("asked {attempts} times") };
    let over_tcp = tcp_attempts.map(|n| format!(", {n} of them over TCP")).unwrap_or_default();
    let cut = if *truncated { ", its answer over UDP was truncated" } else { "" };
    let waited = waited_s.map(|s| format!(", {s:.3} s")).unwrap_or_default();
    format!("{address}: {asked}{over_tcp}, {}{cut}{waited}", if *answered { "answered" } else { "no answer" })
}

fn of_milter(milter: &Milter) -> Vec<Fact> {
    let Milter { stage, reply, writes } = milter;
    let mut facts = vec![fact("milter stage", stage), fact("milter reply", reply.as_deref().unwrap_or("none"))];
    facts.extend(writes.map(|n| fact("request", format!("left in {n} {}", if n == 1 { "write" } else { "writes" }))));
    facts
}

fn of_peer(peer: &Peer) -> Vec<Fact> {
    let path = peer.path.as_deref().map(|path| format!(", serving at {path}")).unwrap_or_default();
    let mut facts = vec![fact("at the far end", format!("{}{path}", process(peer)))];
    facts.extend(peer.unclear.iter().map(|why| fact("its own waits", why)));
    facts.extend(peer.left_out.map(|number| fact("its own waits", format!("the longest; {number} shorter ones are left out"))));
    facts
}

/// `cleanup (pid 26080)`.
pub fn process(peer: &Peer) -> String {
    format!("{} (pid {})", peer.comm, peer.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn a_look_up_tells_who_was_asked() {
        let facts = of(&samples::silent("AAAA", "example.com", 0.0));
        let text = |label: &str| facts.iter().find(|fact| fact.label == label).map(|fact| fact.text.as_str());
        assert_eq!(text("question"), Some("AAAA example.com"));
        assert_eq!(text("answer"), Some("none"));
        assert_eq!(text("name server"), Some("10.99.0.1:53: asked 2 times, no answer, 10.010 s"));
        assert_eq!(text("blocked in"), Some("poll"));
    }
}
