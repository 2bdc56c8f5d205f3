//! Everything that was measured: as a table, and what of it is not as it must be.

use crate::{
    Options,
    account::{Account, Times},
    load::{CLIENTS, Run},
    log::Log,
    neighbour::{self, Neighbour},
    replay::Replay,
    tracer::Cost,
    variant::Variant,
};
use std::{collections::BTreeMap, fmt::Write as _};

/// What is aimed at: ratios of the clients' time, and what a tracer may take.
const TRACED: f64 = 1.05;
const NOBODY: f64 = 1.02;
const MAX_PEAK_KIB: u64 = 32 * 1024;
const MAX_ATTACH_S: f64 = 1.0;
/// Above what is aimed at, a ratio is a failure only by more than two untraced runs differ on a machine that is not alone. What is judged narrowly are
/// events, and the tracer's own time: those do not depend on who else is there.
const NOISE: f64 = 0.1;
/// A session of this load has 66 or 67; of one that matches nobody only the accept is looked at.
const MAX_EVENTS: f64 = 70.0;
const MAX_EVENTS_NOBODY: f64 = 3.0;
/// User and system time of the tracer for 1,000 sessions, s, median: 0.15 to 0.2.
const MAX_CPU_S: f64 = 0.5;

/// Everything that was measured.
pub struct Results<'a> {
    pub options: &'a Options,
    pub runs: BTreeMap<Variant, Vec<Run>>,
    pub accounts: Vec<Account>,
    pub loads: Vec<String>,
    pub neighbours: Vec<Neighbour>,
    pub replays: Vec<Replay>,
}

impl Results<'_> {
    fn of(&self, variant: Variant) -> &[Run] {
        self.runs.get(&variant).map_or(&[], Vec::as_slice)
    }

    /// A variant's value through the mean of the round's two untraced ones, round by round; of the second of these through the first.
    fn ratios(&self, variant: Variant, value: impl Fn(&Run) -> f64) -> Spread {
        let untraced = self.of(Variant::Untraced).iter().zip(self.of(Variant::Again));
        Spread::of(self.of(variant).iter().zip(untraced).map(|(run, (first, again))| match variant {
            Variant::Again => value(again) / value(first),
            Variant::Untraced | Variant::Traced | Variant::Nobody | Variant::Strace | Variant::Bpftrace => {
                value(run) / f64::midpoint(value(first), value(again))
            }
        }))
    }

    pub fn markdown(&self) -> String {
        let Options { rounds, messages, .. } = self.options;
        let mut text = format!(
            "# What tracing costs\n\n\
             sendmail with queue-only delivery to a spool in memory, {CLIENTS} clients at a time, {messages} messages, one a session, \
             by Postfix's smtp-source; {rounds} rounds, in each of which every line had its turn. Ratios to the mean of \
             the two untraced runs of the same round: median (least to greatest); aimed at are {TRACED:.2} for every session and {NOBODY:.2} for nobody.\n\n\
             | | time of the clients | CPU time of sendmail |\n|---|---|---|\n"
        );
        for &variant in self.runs.keys() {
            let wall = self.ratios(variant, |run| run.wall_s);
            let cpu = self.ratios(variant, |run| run.sendmail_cpu_s);
            let _ = if variant == Variant::Untraced {
                let per_session = |value: fn(&Run) -> f64| Spread::of(self.of(variant).iter().map(|run| value(run) / *messages as f64 * 1e3)).show(2);
                let (wall, cpu) = (per_session(|run| run.wall_s), per_session(|run| run.sendmail_cpu_s));
                writeln!(text, "| {} | 1; {wall} ms a message | 1; {cpu} ms a message |", variant.title())
            } else {
                writeln!(text, "| {} | {} | {} |", variant.title(), wall.show(3), cpu.show(3))
            };
        }
        self.costs(&mut text);
        self.events(&mut text);
        self.accounts(&mut text);
        self.neighbours(&mut text);
        self.replays(&mut text);
        let system = rustix::system::uname();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let _ = writeln!(
            text,
            "\nLinux {}, {cores} cores; load average at the beginning of each round: {}.",
            system.release().to_string_lossy(),
            self.loads.join(", "),
        );
        text
    }

    fn costs(&self, text: &mut String) {
        text.push_str(
            "\n| | attach, s | detach, s | user CPU, s per 1000 sessions | system CPU, s per 1000 sessions | peak RSS, MiB |\n\
             |---|---|---|---|---|---|\n",
        );
        for (variant, runs) in &self.runs {
            let of = |value: &dyn Fn(&Cost) -> f64| Spread::of(runs.iter().filter_map(|run| run.cost.as_ref()).map(value));
            if runs.iter().all(|run| run.cost.is_none()) {
                continue;
            }
            let thousands = self.options.messages as f64 / 1e3;
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                variant.title(),
                of(&|cost| cost.attach_s).show(2),
                of(&|cost| cost.detach_s).show(2),
                of(&|cost| cost.user_s / thousands).show(2),
                of(&|cost| cost.system_s / thousands).show(2),
                of(&|cost| cost.peak_kib as f64 / 1024.0).show(1),
            );
        }
    }

    fn events(&self, text: &mut String) {
        text.push_str("\n| | events a session | bytes a session | sessions (complete) a run | events lost, all rounds | truncated |\n|---|---|---|---|---|---|\n");
        let per_session = |n: u64| n as f64 / self.options.messages as f64;
        for (variant, runs) in &self.runs {
            let logs: Vec<&Log> = runs.iter().filter_map(|run| run.log.as_ref()).collect();
            let Some(last) = logs.last() else { continue };
            let sessions = if *variant == Variant::Bpftrace { "-".to_owned() } else { format!("{} ({})", last.sessions, last.complete) };
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.0} | {sessions} | {} | {} |",
                variant.title(),
                per_session(last.events),
                per_session(last.bytes),
                logs.iter().map(|log| log.lost).sum::<u64>(),
                logs.iter().map(|log| log.truncated).sum::<u64>(),
            );
        }
        let Some(log) = self.of(Variant::Traced).last().and_then(|run| run.log.as_ref()) else { return };
        let mut kinds: Vec<(&String, &u64)> = log.by_kind.iter().collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let kinds = kinds.iter().map(|(name, n)| format!("{name} {:.1}", per_session(**n))).collect::<Vec<_>>();
        let _ = writeln!(text, "\nEvents of a traced session: {}.", kinds.join(", "));
    }

    fn accounts(&self, text: &mut String) {
        text.push_str(
            "\nThe serving process until it waits for QUIT, ms:\n\n\
             | CPU time: `/proc/PID/schedstat` | counter in the log | difference | sum of `cpu_s`, CONNECT to EOM | \
             run queue: `/proc/PID/schedstat` | counter in the log | difference |\n|---|---|---|---|---|---|---|\n",
        );
        for Account { cpu, commands_s, runqueue, .. } in &self.accounts {
            let times = |Times { kernel, counter }: &Times| format!("{:.3} | {:.3} | {:+.3}", kernel * 1e3, counter * 1e3, (counter - kernel) * 1e3);
            let _ = writeln!(text, "| {} | {:.3} | {} |", times(cpu), commands_s * 1e3, times(runqueue));
        }
    }

    /// A process that has nothing to do with the mail server, with each back end that this kernel attaches.
    fn neighbours(&self, text: &mut String) {
        if self.neighbours.is_empty() {
            return;
        }
        let times = |back_end: Option<&str>, work: usize| -> Vec<f64> {
            let of = self.neighbours.iter().filter(|it| it.back_end == back_end);
            of.filter_map(|it| it.times_ns.get(work).copied()).collect()
        };
        let mut back_ends: Vec<&str> = self.neighbours.iter().filter_map(|it| it.back_end).collect();
        back_ends.sort_unstable();
        back_ends.dedup();
        let titles: Vec<String> = back_ends.iter().map(|it| format!(" {it} |")).collect();
        let _ = writeln!(text, "\nA process that is not traced, while a tracer is attached: ns without it, and ratios to that.\n");
        let _ = writeln!(text, "| | nothing, ns |{}\n|---|---|{}", titles.concat(), "---|".repeat(back_ends.len()));
        for (work, name) in neighbour::names().enumerate() {
            let base = times(None, work);
            let ratios: Vec<String> = back_ends
                .iter()
                .map(|back_end| format!(" {} |", Spread::of(times(Some(back_end), work).iter().zip(&base).map(|(time, base)| time / base)).show(3)))
                .collect();
            let _ = writeln!(text, "| {name} | {} |{}", Spread::of(base.iter().copied()).show(0), ratios.concat());
        }
    }

    /// How fast saved logs are reported.
    fn replays(&self, text: &mut String) {
        for Replay { events, seconds, peak_kib } in &self.replays {
            let rate = *events as f64 / seconds;
            let peak = *peak_kib as f64 / 1024.0;
            let _ = writeln!(text, "\n`report` of a log of {events} events: {seconds:.3} s, {rate:.0} events a second, {peak:.1} MiB.");
        }
    }

    /// What is not as it must be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = [(Variant::Traced, TRACED + NOISE), (Variant::Nobody, NOBODY + NOISE)]
            .into_iter()
            .flat_map(|(variant, limit)| {
                [
                    self.dear(variant, limit),
                    self.busy(variant),
                    self.talkative(variant),
                    self.large(variant),
                    self.late(variant),
                    self.incomplete(variant),
                ]
            })
            .flatten()
            .collect();
        // One session may have been stolen from by less than a tick; an account that is wrong is wrong in all.
        let bad: Vec<Vec<String>> = self.accounts.iter().map(Account::problems).filter(|problems| !problems.is_empty()).collect();
        if bad.len() > 1 {
            problems.extend(bad.concat());
        }
        problems
    }

    /// A ratio above its limit. The lower quartile is judged: what disturbs a run only adds, and on a machine that is not alone the median
    /// of two untraced runs is off by more than what is looked for.
    fn dear(&self, variant: Variant, limit: f64) -> Option<String> {
        let judged = self.ratios(variant, |run| run.wall_s).lower_quartile;
        (judged.is_nan() || judged > limit)
            .then(|| format!("{}: {judged:.3} times the untraced runs (lower quartile), at most {limit:.2} is allowed", variant.title()))
    }

    fn busy(&self, variant: Variant) -> Option<String> {
        let thousands = self.options.messages as f64 / 1e3;
        let costs = self.of(variant).iter().filter_map(|run| run.cost.as_ref());
        let median = Spread::of(costs.map(|cost| (cost.user_s + cost.system_s) / thousands)).median;
        (median.is_nan() || median > MAX_CPU_S)
            .then(|| format!("{}: the tracer took {median:.2} s for 1,000 sessions, at most {MAX_CPU_S} is allowed", variant.title()))
    }

    fn talkative(&self, variant: Variant) -> Option<String> {
        let limit = if variant == Variant::Traced { MAX_EVENTS } else { MAX_EVENTS_NOBODY };
        let logs = self.of(variant).iter().filter_map(|run| run.log.as_ref());
        let most = logs.map(|log| log.events as f64 / self.options.messages as f64).fold(f64::NAN, f64::max);
        (most.is_nan() || most > limit).then(|| format!("{}: {most:.1} events a session, at most {limit} are allowed", variant.title()))
    }

    fn large(&self, variant: Variant) -> Option<String> {
        let peak_kib = self.of(variant).iter().filter_map(|run| run.cost.as_ref()).map(|cost| cost.peak_kib).max().unwrap_or(0);
        (peak_kib == 0 || peak_kib > MAX_PEAK_KIB)
            .then(|| format!("{}: a peak of {peak_kib} KiB, at most {MAX_PEAK_KIB} is allowed", variant.title()))
    }

    fn late(&self, variant: Variant) -> Option<String> {
        let median = Spread::of(self.of(variant).iter().filter_map(|run| run.cost.as_ref()).map(|cost| cost.attach_s)).median;
        (median.is_nan() || median > MAX_ATTACH_S)
            .then(|| format!("{}: attached after {median:.2} s, at most {MAX_ATTACH_S} is allowed", variant.title()))
    }

    fn incomplete(&self, variant: Variant) -> Option<String> {
        let wanted = if variant == Variant::Traced { self.options.messages } else { 0 };
        let mut logs = self.of(variant).iter().filter_map(|run| run.log.as_ref());
        let log = logs.find(|log| log.lost > 0 || log.sessions != wanted || log.complete != wanted)?;
        let Log { lost, sessions, complete, .. } = log;
        Some(format!("{}: {lost} events lost; {sessions} sessions, {complete} complete, of {wanted}", variant.title()))
    }
}

/// Some values: their middle and their ends.
struct Spread {
    median: f64,
    lower_quartile: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) } else { at(middle) };
        Self { median, lower_quartile: at(values.len() / 4), least: at(0), greatest: at(values.len().saturating_sub(1)) }
    }

    fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.greatest)
    }
}
