//! Sessions of very many commands: what is kept, and that the sums close.

use super::super::{Dialogue, Mark, Start, Told};
use super::*;
use crate::event::{Counters, Smtp, SmtpMode};
use crate::report::{Cause, Command, Outcome, Wait};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

/// A dialogue whose time passes only where a test says so.
struct Talk {
    dialogue: Dialogue,
    now: Mark,
    began: Mark,
}

impl Talk {
    fn new() -> Self {
        let began = Mark { t: 1_000 * MS, at: Counters::default() };
        let mut talk = Self { dialogue: Dialogue::new(Start::Accept, began), now: began, began };
        talk.cpu(MS);
        talk.reply("220 hi");
        talk
    }

    fn cpu(&mut self, ns: u64) {
        self.now.t += ns;
        self.now.at.cpu_ns += ns;
    }

    fn blocked(&mut self, ns: u64) -> (Mark, Mark) {
        let from = self.now;
        self.now.t += ns;
        self.now.at.blocked_ns += ns;
        (from, self.now)
    }

    /// A wait for a lock; its cause is client's where it is the client's turn and nothing has come.
    fn wait(&mut self, cause: Cause, ns: u64) {
        let (from, to) = self.blocked(ns);
        let start_s = seconds(from.since(&self.began).elapsed);
        let target = (cause == Cause::FileLock).then(|| "/etc/mail/access.db".to_owned());
        let wait = Wait { start_s, elapsed_s: seconds(ns.cast_signed()), ..Wait::bare(cause, target, Outcome::Ok) };
        self.dialogue.attach(Named { from, to, wait, socket: None, more: super::super::Passed::default() }, cause == Cause::Client);
    }

    fn line(&mut self, text: &str) {
        let data = format!("{text}\r\n");
        let smtp = Smtp { mode: SmtpMode::Command, dot: false, carry: None };
        self.dialogue.read(self.now, u64::try_from(data.len()).unwrap(), Some(&smtp), data.as_bytes(), false);
    }

    fn reply(&mut self, text: &str) {
        let data = format!("{text}\r\n");
        self.dialogue.wrote(self.now, u64::try_from(data.len()).unwrap(), data.as_bytes(), false);
        self.settle();
    }

    /// What the analysis does when something was told: whatever has an index can be asked for.
    fn settle(&mut self) {
        for told in self.dialogue.take_told() {
            let is_known = match told {
                Told::Began(index) | Told::Ended(index) => self.dialogue.commands().get(index).is_some(),
                Told::Waited(index, wait) => self.dialogue.commands().get(index).is_some_and(|command| command.waits.get(wait).is_some()),
                Told::Delayed(index) => self.dialogue.delayed(index).is_some(),
            };
            assert!(is_known, "{told:?}");
        }
        self.dialogue.leave_out(false);
        let kept = self.dialogue.commands().kept.len();
        assert!(kept < MAX_COMMANDS + LEEWAY, "{kept} commands are kept");
    }

    /// It is over: its commands and what was left out of them.
    fn end(&mut self) -> (Vec<Command>, LeftOutCommands) {
        self.dialogue.closed(self.now);
        self.settle();
        self.dialogue.leave_out(true);
        let commands = self.dialogue.commands();
        let kept: Vec<Command> = commands.iter().map(|(index, command)| command.account(index, &self.began, true, false)).collect();
        (kept, commands.left_out(false).unwrap_or_default())
    }
}

fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
}

#[test]
fn a_hundred_thousand_commands_are_bounded_and_their_sums_are_exact() {
    let mut talk = Talk::new();
    let lines =
        [("RSET", "250 ok"), ("MAIL FROM:<a@example.com>", "250 ok"), ("RCPT TO:<b@example.com>", "250 ok"), ("RCPT TO:<c@example.com>", "550 no")];
    for n in 0..100_000_usize {
        talk.wait(Cause::Client, 10 * MS);
        let (line, reply) = lines[n % lines.len()];
        talk.line(line);
        talk.cpu(MS);
        talk.blocked(MS / 10);
        // One in a thousand is long.
        talk.wait(Cause::FileLock, if n % 1_000 == 1 { 200 * MS } else { 2 * MS });
        talk.reply(reply);
    }
    let (kept, left_out) = talk.end();
    assert_eq!((kept.len(), left_out.commands), (MAX_COMMANDS, 100_002 - 10_000));
    assert!(kept.windows(2).all(|pair| pair[0].index < pair[1].index), "in order");
    assert_eq!((kept[0].verb, kept[MAX_COMMANDS - 1].index), (Verb::Connect, 100_001));
    // Index n + 1: behind the greeting.
    let long: Vec<usize> = kept.iter().filter(|command| command.elapsed_s > 0.1).map(|command| command.index).collect();
    assert_eq!(long, (0..100).map(|n| n * 1_000 + 2).collect::<Vec<_>>(), "those that take long are kept, under their own indices");
    assert_eq!(kept.iter().filter(|command| command.reply_code == Some(550)).count(), MAX_COMMANDS - 100 - 2, "then refused ones");
    assert_eq!(kept.iter().find(|command| command.reply_code == Some(550)).map(|command| command.index), Some(4), "the earliest first");
    let number = left_out.commands as f64;
    near(left_out.elapsed_s, number * 0.0031);
    near(left_out.cpu_s, number * 0.001);
    near(left_out.short_waits_s, number * 0.0001);
    near(left_out.unexplained_s + left_out.runqueue_s, 0.0);
    near(left_out.server_s(), left_out.elapsed_s);
    assert_eq!(left_out.verbs.iter().map(|sum| sum.verb).collect::<Vec<_>>(), [Verb::Mail, Verb::Rcpt, Verb::Rset]);
    assert_eq!(left_out.waits.iter().map(|sum| sum.waits).sum::<u64>(), left_out.commands);
    near(left_out.waits.iter().map(|sum| sum.elapsed_s).sum(), number * 0.002);
    let all: f64 = kept.iter().map(|command| command.elapsed_s).sum::<f64>() + left_out.elapsed_s;
    // The greeting, and all of them; nothing else took time but the client.
    near(all, 0.001 + 100_000.0 * 0.0031 + 100.0 * 0.198);
    near(seconds(talk.dialogue.commands().elapsed()), all);
}

#[test]
fn a_short_session_is_whole() {
    let mut talk = Talk::new();
    for _ in 0..MAX_COMMANDS - 2 {
        talk.line("NOOP");
        talk.reply("250 ok");
    }
    let (kept, left_out) = talk.end();
    assert_eq!((kept.len(), left_out), (MAX_COMMANDS, LeftOutCommands::default()));
}

#[test]
fn a_wait_behind_a_command_goes_with_it_and_a_long_one_keeps_it() {
    let mut talk = Talk::new();
    for n in 0..3 * MAX_COMMANDS {
        talk.line("NOOP");
        talk.cpu(MS);
        talk.reply("250 ok");
        talk.wait(Cause::FileLock, if n == 7 { 500 * MS } else { 5 * MS });
    }
    let (kept, left_out) = talk.end();
    assert!(kept.iter().any(|command| command.index == 8), "the one before the long wait");
    let [between] = left_out.between.as_slice() else { panic!("{:#?}", left_out.between) };
    // What the server waited for before it closed is the end's own: the last command is left out without it.
    assert_eq!((between.waits, between.verb), (left_out.commands - 1, None));
    near(left_out.server_s(), left_out.commands as f64 * 0.006 - 0.005);
    let behind = talk.dialogue.between().count();
    assert_eq!(u64::try_from(behind).unwrap() + between.waits, 3 * 10_000 - 1);
}

#[test]
fn queue_ids_are_kept_in_their_order() {
    let mut talk = Talk::new();
    for n in 0..4_000 {
        for (line, reply) in [("MAIL FROM:<a@example.com>", "250 ok"), ("RCPT TO:<b@example.com>", "250 ok"), ("DATA", "354 go")] {
            talk.line(line);
            talk.cpu(MS);
            talk.reply(reply);
        }
        talk.wait(Cause::Client, 20 * MS);
        let smtp = Smtp { mode: SmtpMode::Data, dot: true, carry: None };
        talk.dialogue.read(talk.now, 100, Some(&smtp), b"", false);
        talk.reply(&format!("250 2.0.0 6AO4hf{n:08} Message accepted for delivery"));
    }
    let (kept, left_out) = talk.end();
    assert_eq!(kept.len() + usize::try_from(left_out.commands).unwrap(), 4_000 * 5 + 2);
    let ids: Vec<String> = (0..4_000).map(|n| format!("6AO4hf{n:08}")).collect();
    assert_eq!(talk.dialogue.commands().queue_ids(), ids);
    // The client's time in BODY is told, and is not the server's.
    let client = left_out.waits.iter().find(|sum| sum.cause == Cause::Client).expect("of BODY");
    near(left_out.server_s() + client.elapsed_s, left_out.elapsed_s);
}

/// Of commands: on a processor, in a wait, whether it is refused, in a wait behind it. From one number, since a list of them takes minutes to shrink.
fn times(seed: u64, number: usize) -> Vec<(u64, u64, bool, u64)> {
    let mut state = seed;
    // Xorshift (Marsaglia 2003).
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    (0..number).map(|_| (next(300 * MS), next(300 * MS), next(2) == 0, next(2 * MS))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    /// Whatever the commands take: the time of all is that of the kept ones and of the others, and nobody long is left out for somebody short.
    #[test]
    fn sums_close(seed in 1_u64.., more in 500..3_000_usize) {
        let times = times(seed, MAX_COMMANDS + more);
        let mut talk = Talk::new();
        for (cpu, wait, is_refused, behind) in &times {
            talk.line("RCPT TO:<b@example.com>");
            talk.cpu(*cpu);
            talk.wait(Cause::FileLock, *wait);
            talk.reply(if *is_refused { "550 no" } else { "250 ok" });
            talk.wait(Cause::FileLock, *behind);
        }
        let (kept, left_out) = talk.end();
        prop_assert_eq!(kept.len(), MAX_COMMANDS);
        let all: u64 = times.iter().map(|(cpu, wait, ..)| cpu + wait).sum::<u64>() + times.last().map_or(0, |last| last.3);
        let told: f64 = kept.iter().map(|command| command.elapsed_s).sum::<f64>() + left_out.elapsed_s;
        // The greeting took a millisecond, and the wait behind the last reply is the end's.
        prop_assert!((told - seconds(all.cast_signed()) - 0.001).abs() < 1e-6, "{} is not {}", told, all);
        let waits: f64 = left_out.waits.iter().map(|sum| sum.elapsed_s).sum();
        let parts = waits + left_out.short_waits_s + left_out.cpu_s + left_out.runqueue_s + left_out.unexplained_s;
        prop_assert!((parts - left_out.elapsed_s).abs() < 1e-6, "{} is not {}", parts, left_out.elapsed_s);
        let least = kept.iter().filter(|command| command.verb == Verb::Rcpt).map(|command| command.elapsed_s).fold(f64::MAX, f64::min);
        prop_assert!(left_out.server_s() <= left_out.commands as f64 * (least.max(0.1) + 0.002) + 1e-6);
    }
}
