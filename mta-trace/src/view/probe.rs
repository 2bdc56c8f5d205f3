//! What the client of `mta-trace probe` measured: beside the server's figures, or alone.
//!
//! In: a [`Probe`]. Out: lines of 80 columns. Invariant: what the server said is escaped. Not here: how the figures are found (`probe/join.rs`).

use super::{
    escape::escape,
    layout::{Row, WIDTH, clip, labelled, row},
    words::{LINE, said},
};
use crate::report::{Exchange, Probe, ProbeCommand, Verb};

/// Columns of what was said, beside the figures.
const SAID: usize = 34;

/// A table: client, server, and what lies outside. The replies stand above it, in the session.
pub fn beside(probe: &Probe) -> Vec<String> {
    let mut lines = labelled(2, "probe  ", &format!("by the client's clock, since it began to connect{}", tls(probe)), WIDTH);
    lines.push(format!("{:SAID$}{:>11}{:>11}{:>11}", "", "client s", "server s", "outside s", SAID = SAID + 10));
    lines.push(figures(0.0, "connect", Some(probe.connect_s), None, None));
    for exchange in &probe.exchanges {
        for (index, command) in exchange.commands.iter().enumerate() {
            let said = what(command);
            let text = clip(&format!("{} {}", code(command), said.strip_prefix("C ").unwrap_or(&said)), SAID);
            // The figures of a batch stand at its end.
            let is_last = index + 1 == exchange.commands.len();
            lines.push(if is_last { exchange_figures(exchange, &text) } else { figures(exchange.start_s, &text, None, None, None) });
        }
    }
    let inside: f64 = probe.exchanges.iter().map(|exchange| exchange.elapsed_s).sum();
    lines.push(figures(probe.elapsed_s, "all of them", Some(inside), probe.server_s, probe.outside_s));
    let own = (probe.elapsed_s - inside).max(0.0);
    let has_message = probe.exchanges.iter().flat_map(|exchange| &exchange.commands).any(|command| command.verb == Verb::Eom);
    let sending = if has_message { ", sending the message included" } else { "" };
    lines.extend(labelled(
        2,
        "",
        &format!("outside is the network and the client's own part; between exchanges the client took {own:.3} s{sending}"),
        WIDTH,
    ));
    lines.extend(remarks(probe));
    lines
}

/// The dialogue with the client's times.
pub fn alone(probe: &Probe) -> Vec<String> {
    let ends = format!("{} -> {}", escape(&probe.client), escape(&probe.server));
    let mut lines = labelled(0, "probe  ", &format!("{ends}, by the client's clock{}", tls(probe)), WIDTH);
    lines.extend(labelled(2, "", &format!("started {}; {:.3} s", escape(&probe.started), probe.elapsed_s), WIDTH));
    lines.extend(row(&Row { at_s: Some(probe.connect_s), text: "connected".into(), elapsed_s: Some(probe.connect_s), detail: String::new() }, WIDTH));
    for exchange in &probe.exchanges {
        for command in exchange.commands.iter().filter(|command| command.verb != Verb::Connect) {
            lines.extend(row(&Row { at_s: Some(exchange.start_s), text: what(command), ..Row::default() }, WIDTH));
        }
        for command in &exchange.commands {
            let elapsed_s = command.reply_s.unwrap_or(exchange.elapsed_s);
            let at_s = Some(exchange.start_s + elapsed_s);
            let text = match (&command.reply, command.reply_code) {
                (Some(reply), Some(..400)) => clip(&format!("S {}", escape(reply)), super::layout::TEXT_WIDE),
                (Some(reply), _) => format!("S {}", clip(&escape(reply), LINE)),
                (None, Some(code)) => format!("S {code}"),
                (None, None) if command.verb == Verb::Tls => "TLS handshake over".to_owned(),
                (None, None) => "(no reply)".to_owned(),
            };
            lines.extend(row(&Row { at_s, text, elapsed_s: Some(elapsed_s), detail: String::new() }, WIDTH));
        }
    }
    lines.extend(remarks(probe));
    lines
}

fn tls(probe: &Probe) -> String {
    let Some(tls) = &probe.tls else { return String::new() };
    let verified = if tls.verified { "verified" } else { "not verified" };
    format!("; {}, {}, certificate {verified}", escape(&tls.version), escape(&tls.cipher))
}

fn remarks(probe: &Probe) -> Vec<String> {
    let stopped = probe.stopped.iter().flat_map(|it| labelled(2, "it stopped there: ", &escape(it), WIDTH));
    let notes = probe.notes.iter().flat_map(|it| labelled(2, "note: ", &escape(it), WIDTH));
    stopped.chain(notes).collect()
}

fn code(command: &ProbeCommand) -> String {
    match command.reply_code {
        Some(code) => code.to_string(),
        None if command.verb == Verb::Tls => "   ".to_owned(),
        None => "---".to_owned(),
    }
}

fn what(command: &ProbeCommand) -> String {
    match command.verb {
        Verb::Connect => "greeting".to_owned(),
        verb => said(verb, command.line.as_deref(), None),
    }
}

fn exchange_figures(exchange: &Exchange, text: &str) -> String {
    figures(exchange.start_s, text, Some(exchange.elapsed_s), exchange.server_s, exchange.outside_s)
}

fn figures(at_s: f64, text: &str, client_s: Option<f64>, server_s: Option<f64>, outside_s: Option<f64>) -> String {
    let figure = |s: Option<f64>| s.map_or_else(String::new, |s| format!("{:.3}", if s > -0.0005 { s.abs() } else { s }));
    let line = format!("{at_s:8.3}  {text:<SAID$}{:>11}{:>11}{:>11}", figure(client_s), figure(server_s), figure(outside_s));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ProbeTls;

    fn command(verb: Verb, line: Option<&str>, reply: Option<(u16, &str)>, reply_s: f64) -> ProbeCommand {
        ProbeCommand {
            verb,
            line: line.map(str::to_owned),
            reply_code: reply.map(|it| it.0),
            reply: reply.map(|it| it.1.to_owned()),
            reply_s: reply.map(|_| reply_s),
            command: None,
        }
    }

    fn exchange(start_s: f64, elapsed_s: f64, server_s: f64, commands: Vec<ProbeCommand>) -> Exchange {
        Exchange { start_s, elapsed_s, server_s: Some(server_s), outside_s: Some(elapsed_s - server_s), commands }
    }

    fn sample() -> Probe {
        let batch = vec![
            command(Verb::Mail, Some("MAIL FROM:<a@example.com>"), Some((250, "250 2.1.0 ok")), 0.2),
            command(Verb::Rcpt, Some(&format!("RCPT TO:<{}@example.net>", "b".repeat(200))), Some((550, "550 5.1.1 \u{1b}[2Jno")), 0.3),
        ];
        Probe {
            server: "10.99.0.2:25".into(),
            client: "10.99.0.1:4711".into(),
            started: "2026-11-25T09:23:27.699402Z".into(),
            elapsed_s: 0.4,
            connect_s: 0.001,
            server_s: Some(0.3),
            outside_s: Some(0.02),
            tls: Some(ProbeTls { version: "TLSv1.3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into(), verified: false }),
            exchanges: vec![
                exchange(0.0, 0.02, 0.018, vec![command(Verb::Connect, None, Some((220, "220 mx")), 0.02)]),
                exchange(0.05, 0.3, 0.282, batch),
            ],
            stopped: Some("no recipient was accepted".into()),
            notes: vec!["\u{202e}x".into()],
            ..Probe::default()
        }
    }

    #[test]
    fn beside_the_server() {
        assert_eq!(
            beside(&sample()),
            [
                "  probe  by the client's clock, since it began to connect; TLSv1.3,",
                "         TLS13_AES_256_GCM_SHA384, certificate not verified",
                "                                               client s   server s  outside s",
                "   0.000  connect                                 0.001",
                "   0.000  220 greeting                            0.020      0.018      0.002",
                "   0.050  250 MAIL FROM:<a@example.com>",
                "   0.050  550 RCPT TO:<bbbbbbbbbbbbbbbbbb...      0.300      0.282      0.018",
                "   0.400  all of them                             0.320      0.300      0.020",
                "  outside is the network and the client's own part; between exchanges the client",
                "  took 0.080 s",
                "  it stopped there: no recipient was accepted",
                "  note: \\u{202e}x",
            ]
        );
    }

    #[test]
    fn alone_with_the_replies() {
        let lines = alone(&sample());
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines.iter().any(|line| line == "   0.350  S 550 5.1.1 \\x1b[2Jno                  0.300 s"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("C MAIL FROM:<a@example.com>")));
    }
}
