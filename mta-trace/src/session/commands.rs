//! The commands of a session by their index, and the sums of those that a long session leaves out.
//!
//! In: commands, one after another, and what the server waited for behind them. Out: those that are kept, under the index that they always had. Invariant:
//! whoever is left out is in the sums, so that a session's time still adds up; which ones are kept depends on the commands alone, so that a replayed
//! log keeps the same.

use super::exchange::{Exchange, Named, Split};
use super::mark::seconds;
use super::sums::add;
use crate::report::{CauseSum, LeftOutCommands, Verb, VerbSum};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How many commands of a session are kept: some 10 MB with a wait in each (measured). So many more may stand here until the next time that some are left out.
pub const MAX_COMMANDS: usize = 10_000;
const LEEWAY: usize = 1_000;
/// How many different verbs, causes and targets are summed up apart.
const MAX_SUMS: usize = 200;
/// What is shorter makes no finding, ns.
const LONG_NS: i64 = 100_000_000;

/// See above.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    kept: BTreeMap<usize, Exchange>,
    /// Index of the next one.
    next: usize,
    left_out: LeftOut,
}

/// What the server waited for by itself behind a command, before it read the client's next line.
#[derive(Clone, Debug)]
pub struct Between {
    /// How many commands had begun before.
    pub after: usize,
    /// The wait.
    pub named: Named,
}

/// Sums.
#[derive(Clone, Debug, Default)]
struct LeftOut {
    /// As they are told where nothing was lost, and where something was: that is known at the session's end.
    whole: Split,
    with_gap: Split,
    verbs: BTreeMap<Verb, (u64, i64)>,
    waits: Vec<CauseSum>,
    between: Vec<CauseSum>,
    queue_ids: BTreeMap<usize, String>,
}

impl Commands {
    /// The next one begins; its index.
    pub fn push(&mut self, command: Exchange) -> usize {
        let index = self.next;
        self.kept.insert(index, command);
        self.next += 1;
        index
    }

    /// Index that the next one will have: how many there were.
    pub fn next(&self) -> usize {
        self.next
    }

    /// The one with this index, if it is kept.
    pub fn get(&self, index: usize) -> Option<&Exchange> {
        self.kept.get(&index)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Exchange> {
        self.kept.get_mut(&index)
    }

    /// Those that are kept, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Exchange)> {
        self.kept.iter().map(|(index, command)| (*index, command))
    }

    /// Changes several that follow each other.
    pub fn change(&mut self, range: std::ops::Range<usize>, change: impl FnOnce(&mut [Exchange])) {
        let indices: Vec<usize> = self.kept.range(range).map(|(index, _)| *index).collect();
        let mut commands: Vec<Exchange> = indices.iter().filter_map(|index| self.kept.remove(index)).collect();
        change(&mut commands);
        self.kept.extend(indices.into_iter().zip(commands));
    }

    /// Leaves out those that cost least, where there are too many. `is_last`: the session is over.
    /// Nobody may ask for what has ended by its index any more; of `between`, what stands behind those goes with them.
    pub fn leave_out(&mut self, between: &mut Vec<Between>, is_last: bool) {
        let too_many = self.kept.len().saturating_sub(MAX_COMMANDS);
        if too_many == 0 || !is_last && too_many < LEEWAY {
            return;
        }
        let mut behind: BTreeMap<usize, i64> = BTreeMap::new();
        for Between { after, named } in between.iter() {
            *behind.entry(after.wrapping_sub(1)).or_default() += named.passed().elapsed;
        }
        // The first one is the greeting; what the server waits for behind the last one is not known yet.
        let last = self.next.saturating_sub(1);
        let ended = self.iter().filter(|(index, _)| *index != 0 && *index != last);
        let mut ranked: Vec<_> = ended.map(|(index, command)| rank(index, command, behind.get(&index).copied().unwrap_or(0))).collect();
        ranked.sort_unstable();
        let least: BTreeSet<usize> = ranked.into_iter().take(too_many).map(|(.., Reverse(index))| index).collect();
        for Between { named, .. } in between.extract_if(.., |it| least.contains(&it.after.wrapping_sub(1))) {
            let wait = &named.wait;
            add(&mut self.left_out.between, MAX_SUMS, (None, wait.cause, wait.target.as_deref()), wait.elapsed_s, 1);
        }
        for index in least {
            if let Some(command) = self.kept.remove(&index) {
                self.left_out.take(index, command);
            }
        }
    }

    /// The time of all of them, ns.
    pub fn elapsed(&self) -> i64 {
        self.kept.values().map(|command| command.passed().elapsed).fold(self.left_out.whole.elapsed, i64::saturating_add)
    }

    /// All queue ids, in the order of their commands.
    pub fn queue_ids(&self) -> Vec<String> {
        let kept = self.iter().filter_map(|(index, command)| Some((index, command.queue_id.clone()?)));
        let left_out = self.left_out.queue_ids.iter().map(|(index, id)| (*index, id.clone()));
        kept.chain(left_out).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// The sums of those that were left out. `has_gap` as for [`Exchange::account`].
    pub fn left_out(&self, has_gap: bool) -> Option<LeftOutCommands> {
        let LeftOut { whole, with_gap, verbs, waits, between, .. } = &self.left_out;
        let Split { elapsed, short, cpu, rq, rest } = if has_gap { *with_gap } else { *whole };
        let left_out = LeftOutCommands {
            commands: verbs.values().map(|(commands, _)| commands).sum(),
            elapsed_s: seconds(elapsed),
            short_waits_s: seconds(short),
            cpu_s: seconds(cpu),
            runqueue_s: seconds(rq),
            unexplained_s: seconds(rest),
            verbs: verbs.iter().map(|(verb, (commands, ns))| VerbSum { verb: *verb, commands: *commands, server_s: seconds(*ns) }).collect(),
            waits: waits.clone(),
            between: between.clone(),
        };
        Some(left_out).filter(|it| it.commands > 0)
    }
}

/// What goes first: what cannot be in a finding, and of that what was not refused (a refusal explains why later ones are throttled); then the shortest,
/// of equal ones the latest.
fn rank(index: usize, command: &Exchange, behind: i64) -> (bool, bool, i64, Reverse<usize>) {
    let time = command.split(false).elapsed.saturating_sub(command.client_ns()).max(behind);
    let is_refused = command.reply_code.is_some_and(|code| code >= 400);
    let is_long = time >= LONG_NS;
    (is_long, is_refused && !is_long, time, Reverse(index))
}

impl LeftOut {
    fn take(&mut self, index: usize, command: Exchange) {
        let split = command.split(false);
        self.whole += split;
        self.with_gap += command.split(true);
        let (number, server_ns) = self.verbs.entry(command.verb).or_default();
        *number += 1;
        *server_ns = server_ns.saturating_add(split.elapsed.saturating_sub(command.client_ns()));
        for Named { wait, .. } in &command.waits {
            add(&mut self.waits, MAX_SUMS, (Some(command.verb), wait.cause, wait.target.as_deref()), wait.elapsed_s, 1);
        }
        if let Some(id) = command.queue_id.filter(|_| self.queue_ids.len() < MAX_COMMANDS) {
            self.queue_ids.insert(index, id);
        }
    }
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
