//! What must hold whatever happens: loss is counted exactly, a thousand sessions do not get mixed up, of a killed tracer nothing stays.
//!
//! In come a mail server, real or one that counts what it does, and a tracer in trouble. One test after another: each takes all processors. Needs root.
//! The long form is `cargo xtask soak`.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod counted;
mod gap;
mod many;
mod recorder;
mod soak;
mod world;

use lab::harness::{self, Case};
use std::{process::ExitCode, time::Duration};

/// Longest time for anything that is expected to happen at once; a busy machine may need a part of it.
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    if counted::is_helper() {
        return counted::helper();
    }
    let tests: [(&str, fn()); 14] = [
        ("what is not received is counted: nothing lost", counted::nothing_is_lost_in_a_large_ring),
        ("what is not received is counted: one page", counted::a_ring_of_one_page),
        ("what is not received is counted: one page, reader stopped", counted::a_ring_of_one_page_and_a_stopped_reader),
        ("what is not received is counted: reader stopped for a while", counted::a_reader_that_is_stopped_for_a_while),
        ("a session with a gap says so", gap::a_session_with_a_gap_says_so),
        ("a thousand sessions at once", many::a_thousand_sessions_at_once),
        ("clients that a daemon refuses leave nothing", many::regress_clients_that_a_daemon_refuses_leave_nothing),
        ("flight recorder: only the slow session is kept", recorder::only_the_slow_session_is_kept_and_memory_stays),
        ("flight recorder: a log that is begun again", recorder::a_log_that_is_begun_again_is_two_logs),
        ("flight recorder: a slow session is in one log", recorder::a_slow_session_is_in_one_log),
        ("soak: what the machine carries", soak::what_the_machine_carries_is_traced_without_loss),
        ("soak: full load", soak::under_full_load_what_is_lost_is_said),
        ("soak: two tracers", soak::two_tracers_tell_the_same),
        ("soak: killed tracers", soak::of_killed_tracers_nothing_stays_but_their_logs),
    ];
    let cases = tests.map(|(name, test)| {
        Case::new(name, true, move || {
            test();
            Ok(())
        })
    });
    harness::run("reliability", cases.into(), Some(1))
}
