//! What changed between two traces: commands by their verb, waits by command, cause and target.
//!
//! Sessions of both traces in, as they end; a [`Comparison`] out. Invariant: pure, and of a session only its figures are kept. Not here: how
//! it is shown (`view/comparison.rs`).

use crate::report::{Cause, CauseSum, LeftOutCommands, Session, Verb, VerbSum, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What differs by less is the same, s; as is what differs by less than a share of the larger one.
const SAME_S: f64 = 0.01;
const SAME_SHARE: f64 = 0.1;
/// The order of a session.
const SESSION: [Verb; 25] = [
    Verb::Connect,
    Verb::Xclient,
    Verb::Xforward,
    Verb::Helo,
    Verb::Ehlo,
    Verb::Lhlo,
    Verb::Starttls,
    Verb::Tls,
    Verb::Auth,
    Verb::Mail,
    Verb::Rcpt,
    Verb::Data,
    Verb::Bdat,
    Verb::Body,
    Verb::Eom,
    Verb::Rset,
    Verb::Noop,
    Verb::Vrfy,
    Verb::Expn,
    Verb::Help,
    Verb::Etrn,
    Verb::Opaque,
    Verb::Invalid,
    Verb::Quit,
    Verb::Disconnect,
];
/// How many different waits are told apart; of more only their time in the command is known.
const MAX_WAITS: usize = 10_000;

/// Why sessions waited: what is matched with the other trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// Command in which they waited; none: between commands.
    pub verb: Option<Verb>,
    /// Cause.
    pub cause: Cause,
    /// Target, without what differs from session to session.
    pub target: Option<String>,
}

impl Reason {
    fn new(verb: Option<Verb>, cause: Cause, target: Option<&str>) -> Self {
        Self { verb, cause, target: target.map(|target| lasting(cause, target)) }
    }
}

/// A target without process numbers and the names of queue files, which the next session has not.
fn lasting(cause: Cause, target: &str) -> String {
    match cause {
        Cause::Child => target.split_once(' ').map_or(target, |(_, comm)| comm).to_owned(),
        Cause::SpoolSync => Path::new(target).parent().map_or_else(|| target.to_owned(), |folder| folder.to_string_lossy().into_owned()),
        _ => target.to_owned(),
    }
}

/// What one trace says.
#[derive(Debug, Default)]
pub struct Side {
    /// Time on the server's side of each session, s.
    server_s: Vec<f64>,
    /// The same of each command.
    commands: BTreeMap<Verb, Vec<f64>>,
    waits: BTreeMap<Reason, Total>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    elapsed_s: f64,
    sessions: u64,
    /// The last session that was counted.
    last: usize,
}

impl Side {
    /// Takes a session that has ended.
    pub fn add(&mut self, session: &Session) {
        self.server_s.push(session.server_s());
        for command in &session.commands {
            self.commands.entry(command.verb).or_default().push(command.server_s());
            for wait in &command.waits {
                self.wait(Some(command.verb), wait);
            }
        }
        for wait in &session.between {
            self.wait(None, wait);
        }
        if let Some(left_out) = &session.left_out {
            self.add_left_out(left_out);
        }
    }

    /// Of commands that a long session left out only the sums are known: each counts as what they took on the average.
    fn add_left_out(&mut self, left_out: &LeftOutCommands) {
        for VerbSum { verb, commands, server_s } in &left_out.verbs {
            let number = usize::try_from(*commands).unwrap_or(usize::MAX);
            self.commands.entry(*verb).or_default().extend(std::iter::repeat_n(server_s / *commands as f64, number));
        }
        for CauseSum { verb, cause, target, elapsed_s, .. } in left_out.waits.iter().chain(&left_out.between) {
            self.reason(Reason::new(*verb, *cause, target.as_deref()), *elapsed_s);
        }
    }

    fn wait(&mut self, verb: Option<Verb>, wait: &Wait) {
        self.reason(Reason::new(verb, wait.cause, wait.target.as_deref()), wait.elapsed_s);
    }

    fn reason(&mut self, reason: Reason, elapsed_s: f64) {
        if reason.cause == Cause::Client || self.waits.len() >= MAX_WAITS && !self.waits.contains_key(&reason) {
            return;
        }
        let session = self.server_s.len();
        let total = self.waits.entry(reason).or_default();
        total.elapsed_s += elapsed_s;
        total.sessions += u64::from(total.last != session);
        total.last = session;
    }

    fn sessions(&self) -> u64 {
        u64::try_from(self.server_s.len()).unwrap_or(u64::MAX)
    }

    /// Time that a session spent on it, on the average, s, and how many sessions did.
    fn share(&self, reason: &Reason) -> (f64, u64) {
        let total = self.waits.get(reason).copied().unwrap_or_default();
        (total.elapsed_s / self.server_s.len().max(1) as f64, total.sessions)
    }
}

/// What became of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is not there any more.
    Went,
    /// It was not there before.
    Came,
    /// It takes another time.
    Changed,
}

/// Two figures: before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<T> {
    /// In the first trace.
    pub before: T,
    /// In the second one.
    pub after: T,
}

impl Pair<f64> {
    /// How much more it is after, s.
    pub fn more_s(&self) -> f64 {
        self.after - self.before
    }

    /// Whether the difference is none that counts.
    pub fn is_same(&self) -> bool {
        let larger = self.before.abs().max(self.after.abs());
        self.more_s().abs() < SAME_S.max(larger * SAME_SHARE)
    }
}

/// A command in both traces.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRow {
    /// Its verb.
    pub verb: Verb,
    /// How often it was given.
    pub count: Pair<usize>,
    /// Median time on the server's side, s; none: it was not given.
    pub median_s: Pair<Option<f64>>,
}

/// A wait that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitRow {
    /// Why.
    pub reason: Reason,
    /// What became of it.
    pub change: Change,
    /// Time of a session, on the average, s.
    pub per_session_s: Pair<f64>,
    /// How many sessions had it.
    pub sessions: Pair<u64>,
}

/// Both traces side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// How many sessions each has.
    pub sessions: Pair<u64>,
    /// Median time on the server's side of a session, s.
    pub server_s: Pair<Option<f64>>,
    /// In the order of an SMTP session.
    pub commands: Vec<CommandRow>,
    /// Those that differ, the largest difference first.
    pub waits: Vec<WaitRow>,
}

/// Compares.
pub fn compare(before: &Side, after: &Side) -> Comparison {
    let verbs = SESSION.into_iter().filter(|verb| before.commands.contains_key(verb) || after.commands.contains_key(verb));
    let of = |side: &Side, verb: Verb| side.commands.get(&verb).cloned().unwrap_or_default();
    let command = |verb| {
        let (before, after) = (of(before, verb), of(after, verb));
        CommandRow { verb, count: Pair { before: before.len(), after: after.len() }, median_s: Pair { before: median(before), after: median(after) } }
    };
    let reasons: BTreeSet<&Reason> = before.waits.keys().chain(after.waits.keys()).collect();
    let mut waits: Vec<WaitRow> = reasons.into_iter().filter_map(|reason| wait_row(reason, before.share(reason), after.share(reason))).collect();
    waits.sort_by(|a, b| b.per_session_s.more_s().abs().total_cmp(&a.per_session_s.more_s().abs()));
    Comparison {
        sessions: Pair { before: before.sessions(), after: after.sessions() },
        server_s: Pair { before: median(before.server_s.clone()), after: median(after.server_s.clone()) },
        commands: verbs.map(command).collect(),
        waits,
    }
}

fn wait_row(reason: &Reason, (before_s, before): (f64, u64), (after_s, after): (f64, u64)) -> Option<WaitRow> {
    let per_session_s = Pair { before: before_s, after: after_s };
    if per_session_s.is_same() {
        return None;
    }
    let change = match (before_s < SAME_S, after_s < SAME_S) {
        (_, true) => Change::Went,
        (true, false) => Change::Came,
        (false, false) => Change::Changed,
    };
    Some(WaitRow { reason: reason.clone(), change, per_session_s, sessions: Pair { before, after } })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let high = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(high) } else { values.get(middle.checked_sub(1)?).map(|low| f64::midpoint(*low, high)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn wait(cause: &str, target: &str, elapsed_s: f64) -> Value {
        json!({"cause": cause, "target": target, "start_s": 0.0, "elapsed_s": elapsed_s, "outcome": "ok", "syscalls": []})
    }

    /// A session of one command.
    fn session(verb: &str, elapsed_s: f64, waits: &[Value]) -> Session {
        let command = json!({"index": 0, "verb": verb, "line": null, "reply_code": 250, "reply": null, "start_s": 0.0, "elapsed_s": elapsed_s,
            "short_waits_s": 0.0, "cpu_s": 0.0, "runqueue_s": 0.0, "unexplained_s": 0.0, "waits": waits});
        let session = json!({"id": "1-1", "mta": "sendmail", "mta_version": null, "pid": 1, "daemon_pid": 1, "client": "", "server": "", "started": "",
            "elapsed_s": elapsed_s, "client_s": 0.0, "complete": true, "began": "accept", "end": "quit", "tls": null, "queue_ids": [],
            "commands": [command], "findings": []});
        serde_json::from_value(session).expect("a session")
    }

    fn side(sessions: &[Session]) -> Side {
        let mut side = Side::default();
        for session in sessions {
            side.add(session);
        }
        side
    }

    #[test]
    fn what_went_came_and_changed_is_told_apart() {
        let waits = |ident_s, dns_s, milter_s| [wait("ident", "c:113", ident_s), wait("dns", "s:53", dns_s), wait("milter", "m:8891", milter_s)];
        let before = side(&[session("MAIL", 8.0, &waits(5.0, 3.0, 0.0))]);
        let after = side(&[session("MAIL", 3.0, &waits(0.0, 1.0, 2.0))]);
        let comparison = compare(&before, &after);
        let changes: Vec<_> = comparison.waits.iter().map(|row| (row.reason.cause, row.change)).collect();
        assert_eq!(changes, [(Cause::Ident, Change::Went), (Cause::Dns, Change::Changed), (Cause::Milter, Change::Came)]);
        assert_eq!(comparison.server_s, Pair { before: Some(8.0), after: Some(3.0) });
        assert!(compare(&before, &before).waits.is_empty(), "nothing differs from itself");
    }

    #[test]
    fn a_wait_is_shared_out_over_all_sessions() {
        let slow = session("RCPT", 4.0, &[wait("dns", "s:53", 2.0), wait("dns", "s:53", 2.0)]);
        let before = side(&[slow, session("RCPT", 0.0, &[])]);
        let [row] = compare(&before, &side(&[session("RCPT", 0.0, &[])])).waits.try_into().expect("one row");
        assert_eq!((row.per_session_s.before, row.sessions), (2.0, Pair { before: 1, after: 0 }));
    }

    #[test]
    fn what_is_new_in_each_session_is_no_difference() {
        for (cause, first, second) in [("child", "12 mail.local", "13 mail.local"), ("spool-sync", "/var/spool/mqueue/df1", "/var/spool/mqueue/df2")]
        {
            let of = |target| side(&[session("EOM", 1.0, &[wait(cause, target, 1.0)])]);
            assert!(compare(&of(first), &of(second)).waits.is_empty(), "{cause}");
        }
    }

    #[test]
    fn commands_that_are_left_out_count_with_their_average() {
        let mut long = session("MAIL", 4.0, &[wait("file-lock", "m", 3.0)]);
        let left_out = json!({"commands": 3, "elapsed_s": 6.0, "short_waits_s": 0.0, "cpu_s": 3.0, "runqueue_s": 0.0, "unexplained_s": 0.0,
            "verbs": [{"verb": "MAIL", "commands": 3, "server_s": 6.0}],
            "waits": [{"verb": "MAIL", "cause": "file-lock", "target": "m", "elapsed_s": 3.0, "waits": 3}]});
        long.left_out = Some(serde_json::from_value(left_out).expect("sums"));
        let comparison = compare(&side(&[long]), &side(&[session("MAIL", 4.0, &[])]));
        let [mail] = comparison.commands.as_slice() else { panic!("{comparison:#?}") };
        assert_eq!((mail.count, mail.median_s.before), (Pair { before: 4, after: 1 }, Some(2.0)));
        let [lock] = comparison.waits.as_slice() else { panic!("{comparison:#?}") };
        assert_eq!((lock.per_session_s.before, lock.sessions.before, comparison.server_s.before), (6.0, 1, Some(10.0)));
    }

    #[test]
    fn each_verb_has_its_place() {
        let different: BTreeSet<Verb> = SESSION.into_iter().collect();
        assert_eq!((different.len(), SESSION.first(), SESSION.last()), (SESSION.len(), Some(&Verb::Connect), Some(&Verb::Disconnect)));
    }

    #[test]
    fn medians() {
        assert_eq!([vec![], vec![2.0], vec![3.0, 1.0], vec![9.0, 1.0, 2.0]].map(median), [None, Some(2.0), Some(2.0), Some(2.0)]);
    }
}
