//! What the client measured, beside what the server's session says: how much of each exchange was the server's.
//!
//! In: [`Played`], and the report of a trace of the same machine, so of the same clock. Out: a [`Probe`], in the session that has the
//! client's own address and port, else in the report. Invariant: pure. A command is matched by its verb, in order, if both
//! overlap; inside TLS, where no verb can be read, by the overlap alone.

use super::{Played, Timed};
use crate::report::{Cause, Command, Exchange, Probe, ProbeCommand, Report, Session, Verb};

/// Two readings of one clock that were kept as different decimal numbers differ by less, s; and a clock that is being corrected.
const SLACK_S: f64 = 0.005;

/// What the client measured, for itself. `boot_to_wall_ns` makes wall time of its clock.
pub fn alone(played: &Played, boot_to_wall_ns: i64) -> Probe {
    let [began_ns, connected_ns] = played.connect_ns;
    let since = |ns: u64| seconds(began_ns, ns);
    let wall = i128::from(boot_to_wall_ns) + i128::from(began_ns);
    let exchange = |timed: &Timed| {
        let command = |told: &super::Told| ProbeCommand {
            verb: told.verb,
            line: told.line.clone(),
            reply_code: told.reply.as_ref().map(|(code, _, _)| *code),
            reply: told.reply.as_ref().and_then(|(_, text, _)| text.clone()),
            reply_s: told.reply.as_ref().map(|(_, _, at_ns)| seconds(timed.sent_ns, *at_ns)),
            command: None,
        };
        Exchange {
            start_s: since(timed.sent_ns),
            elapsed_s: seconds(timed.sent_ns, timed.done_ns),
            server_s: None,
            outside_s: None,
            commands: timed.commands.iter().map(command).collect(),
        }
    };
    Probe {
        server: played.server.clone(),
        client: played.client.clone(),
        started: jiff::Timestamp::from_nanosecond(wall).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        elapsed_s: since(played.exchanges.last().map_or(connected_ns, |last| last.done_ns)),
        connect_s: since(connected_ns),
        accept_s: None,
        server_s: None,
        outside_s: None,
        tls: played.tls.clone(),
        exchanges: played.exchanges.iter().map(exchange).collect(),
        stopped: played.stopped.clone(),
        notes: played.notes.clone(),
    }
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

/// Puts it into the report, which then has only the client's own session, if that was seen.
pub fn join(report: &mut Report, mut probe: Probe) {
    let all = report.sessions.len();
    if report.sessions.iter().any(|session| session.client == probe.client) {
        report.sessions.retain(|session| session.client == probe.client);
        let others = all - report.sessions.len();
        if others > 0 {
            let sessions = if others == 1 { "session" } else { "sessions" };
            probe.notes.push(format!("{others} other {sessions} from this address were traced too and are left out here; the log has them"));
        }
    }
    if let Some(session) = report.sessions.iter_mut().find(|session| session.client == probe.client) {
        beside(&mut probe, session);
        session.probe = Some(Box::new(probe));
    } else {
        let text = "the server's side was not seen: no session of this address and port was traced; is --to the server that was traced, and is no \
            proxy or address translation between?";
        probe.notes.push(text.to_owned());
        report.probe = Some(probe);
    }
}

/// Seconds on the client's clock.
#[derive(Clone, Copy)]
struct Span {
    start_s: f64,
    end_s: f64,
}

impl Span {
    fn overlap_s(self, other: Self) -> f64 {
        self.end_s.min(other.end_s) - self.start_s.max(other.start_s)
    }
}

fn beside(probe: &mut Probe, session: &Session) {
    let accept_s = match (session.started.parse::<jiff::Timestamp>(), probe.started.parse::<jiff::Timestamp>()) {
        (Ok(accepted), Ok(began)) => accepted.duration_since(began).as_secs_f64(),
        (Err(_), _) | (_, Err(_)) => return,
    };
    probe.accept_s = Some(accept_s);
    let span = |command: &Command| {
        let start_s = accept_s + command.start_s;
        Span { start_s, end_s: start_s + command.elapsed_s }
    };
    let mut next = 0;
    for exchange in &mut probe.exchanges {
        let own = Span { start_s: exchange.start_s, end_s: exchange.start_s + exchange.elapsed_s };
        let is_answered = exchange.commands.iter().all(|command| command.reply_code.is_some() || command.verb == Verb::Tls);
        let mut server_s = 0.0;
        let mut is_whole = true;
        for told in &mut exchange.commands {
            let later = session.commands.iter().enumerate().skip(next);
            let found = later.clone().find(|(_, it)| it.verb == told.verb && own.overlap_s(span(it)) > -SLACK_S);
            match found {
                Some((index, command)) => {
                    next = index + 1;
                    told.command = Some(command.index);
                    server_s += of_server(command, session);
                }
                None => is_whole &= told.reply_code.is_none(),
            }
        }
        // Whoever cannot be read, or was given up, has what lies inside the exchange.
        let is_found = exchange.commands.iter().any(|command| command.command.is_some());
        if is_found && is_whole {
            let is_bounded = !is_answered || exchange.commands.iter().any(|command| command.verb == Verb::Tls);
            exchange.server_s = Some(if is_bounded { server_s.min(exchange.elapsed_s) } else { server_s });
        } else if !is_found {
            exchange.server_s = opaque(exchange, own, session, &span);
        }
        exchange.outside_s = exchange.server_s.map(|server_s| exchange.elapsed_s - server_s);
    }
    let sum = |of: fn(&Exchange) -> Option<f64>| {
        let known: Vec<f64> = probe.exchanges.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    };
    (probe.server_s, probe.outside_s) = (sum(|it| it.server_s), sum(|it| it.outside_s));
}

/// The client waits for the listen queue too; in a handshake and an AUTH exchange what the client took is its own.
fn of_server(command: &Command, session: &Session) -> f64 {
    match command.verb {
        Verb::Connect => command.elapsed_s + session.before_accept_s.unwrap_or_default(),
        Verb::Tls => command.server_s() - command.waits.iter().filter(|wait| wait.cause == Cause::Tls).map(|wait| wait.elapsed_s).sum::<f64>(),
        _ => command.server_s(),
    }
}

/// Inside TLS: how long the server had something to do meanwhile.
fn opaque(exchange: &mut Exchange, own: Span, session: &Session, span: &impl Fn(&Command) -> Span) -> Option<f64> {
    let inside = |command: &&Command| command.verb == Verb::Opaque && own.overlap_s(span(command)) > 0.0;
    // Neighbours may reach in by the last decimal of the clock: the one that lies in it most is its own.
    let most = session.commands.iter().filter(inside).max_by(|a, b| own.overlap_s(span(a)).total_cmp(&own.overlap_s(span(b))))?;
    if let [only] = exchange.commands.as_mut_slice() {
        only.command = Some(most.index);
    }
    Some(session.commands.iter().filter(inside).map(|command| own.overlap_s(span(command))).sum())
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
