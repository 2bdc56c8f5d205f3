//! The short forms of what `cargo xtask soak` does for minutes and for hundreds of tracers.

use crate::world::lab;
use lab::{
    journal::now_ns,
    kills, load,
    soak::{self, Plan},
};
use std::time::Duration;

/// Long enough for the sessions by which memory is judged.
const TIME: Duration = Duration::from_secs(20);
/// Half of them when the tracer is ready, a quarter by each back end.
const KILLS: usize = 8;

pub fn what_the_machine_carries_is_traced_without_loss() {
    let figures = soak::run(&lab("carried"), Plan { time: TIME, clients: load::CARRIED, may_lose: false }).unwrap();
    eprintln!("{figures}");
}

pub fn under_full_load_what_is_lost_is_said() {
    let figures = soak::run(&lab("full"), Plan { time: TIME, clients: load::FULL, may_lose: true }).unwrap();
    eprintln!("{figures}");
}

pub fn of_killed_tracers_nothing_stays_but_their_logs() {
    // Other moments each time; a failure names the seed.
    let figures = kills::kill(&lab("kills"), KILLS, now_ns()).unwrap();
    eprintln!("{figures}");
}
