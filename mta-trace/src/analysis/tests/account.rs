//! The account of sound traces: whatever the server does between a client's lines, all of its time is told, and none twice.

use super::trace::*;
use mta_trace_common::syscalls::Call;
use proptest::prelude::*;

/// What a server does while a command is open.
#[derive(Clone, Copy, Debug)]
enum Step {
    Cpu(u64),
    Queued(u64),
    /// In calls that are not told.
    Short(u64),
    Sleep(u64),
    Sync(u64),
    Lock(u64),
    Lookup(u16, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3 * MS).prop_map(Step::Cpu),
        (0..3 * MS).prop_map(Step::Queued),
        (0..MS).prop_map(Step::Short),
        (0..3 * SECOND).prop_map(Step::Sleep),
        (0..SECOND).prop_map(Step::Sync),
        (0..SECOND).prop_map(Step::Lock),
        (any::<u16>(), 0..SECOND).prop_map(|(id, ns)| Step::Lookup(id, ns)),
    ];
    proptest::collection::vec(step, 0..8)
}

impl Step {
    fn make(self, trace: &mut Trace) {
        match self {
            Self::Cpu(ns) => trace.cpu(ns),
            Self::Queued(ns) => trace.queued(ns),
            Self::Short(ns) => trace.short_wait(ns),
            Self::Sleep(ns) => trace.blocked(Call::Nanosleep, 0, ns).args.timeout_ns = Some(ns),
            Self::Sync(ns) => trace.blocked(Call::Fsync, 0, ns).args.fd = Some(9),
            Self::Lock(ns) => trace.blocked(Call::Flock, 0, ns).args.fd = Some(9),
            Self::Lookup(id, ns) => trace.lookup(id, "a.example.test", 1, ns),
        }
    }
}

proptest! {
    #[test]
    fn all_time_of_a_sound_trace_is_told(commands in proptest::collection::vec(steps(), 0..6)) {
        let mut trace = Trace::greeted();
        let mut durations = Vec::new();
        for steps in commands {
            trace.await_client(50 * MS);
            trace.line("NOOP\r\n");
            let began = trace.t;
            for step in steps {
                step.make(&mut trace);
            }
            durations.push((trace.t - began) as f64 / 1e9);
            trace.reply("250 ok\r\n");
        }
        trace.quit();
        // Also that a replayed log says the same, and that the parts sum up.
        let session = trace.session();
        let told: Vec<f64> = session.commands.iter().filter(|command| command.verb.name() == "NOOP").map(|command| command.elapsed_s).collect();
        prop_assert_eq!(told.len(), durations.len());
        for (told, passed) in told.iter().zip(&durations) {
            prop_assert!((told - passed).abs() < 1e-9, "{} is not {}", told, passed);
        }
        for command in &session.commands {
            prop_assert!(command.unexplained_s.abs() < 1e-9, "{:#?}", command);
            let parts = [command.short_waits_s, command.cpu_s, command.runqueue_s];
            prop_assert!(parts.iter().all(|part| *part >= 0.0), "{:#?}", command);
        }
    }
}
