//! No secret leaves the traced process: canaries in every way in which a client may bring one, looked for in a raw dump of the ring, the log,
//! standard output and standard error.
//!
//! The positive control builds mta-trace with its filter off and demands that the same search finds the canary of each case: a check that cannot
//! fail would be worth nothing. Needs root.

mod cases;
mod milter;
mod play;
mod search;
mod server;

use anyhow::{Result, ensure};
use cases::{Case, auth_cases, other_cases};
use lab::{
    Lab,
    harness::{self, Case as Trial},
};
use libtest_mimic::Failed;
use milter::message_through_a_milter;
use play::{Kept, Played, play};
use search::{finds, is_client_read, joined, records};
use server::Server;
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// A line that was to be split must have been read byte by byte, but for some that a busy machine put together.
fn check_split(case: &Case, local: &str, log: &[u8]) -> Result<()> {
    let alone = records(log).filter(|record| is_client_read(record) && record["peer"] == local && record["ret"] == 1).count();
    let sent = case.split_bytes();
    ensure!(alone * 4 >= sent * 3, "{}: of {sent} bytes sent apart only {alone} were read apart", case.name);
    Ok(())
}

/// Where the canary of a case was found.
struct Found {
    case: String,
    /// By the daemon's tracer, which sees each session from its beginning.
    whole: Vec<String>,
    /// By the tracer that came late, where that is the case.
    late: Option<Vec<String>>,
}

/// Plays all cases.
fn matrix(binary: &Path, dir: &Path) -> Result<Vec<Found>> {
    let (mut all, mut found) = (auth_cases(), Vec::new());
    all.extend(other_cases());
    for server in Server::ALL {
        let dir = dir.join(server.name());
        let lab = Lab::up_in(&server.scenario()?, &dir.join("lab"))?;
        lab.install_faults()?;
        let daemon = Kept::attach(binary, lab.daemon_pid(), &dir.join("daemon"))?;
        let cases: Vec<&Case> = all.iter().filter(|case| case.server == server).collect();
        let played: Vec<Result<Played>> = cases.iter().map(|case| play(&lab, case, binary, &dir)).collect();
        let failed: Vec<String> = played.iter().filter_map(|played| played.as_ref().err()).map(|error| format!("{error:#}")).collect();
        ensure!(failed.is_empty(), "{}", failed.join("\n"));
        let mut outputs = daemon.stop()?;
        let log = outputs.iter().find(|(name, _)| *name == "log").map(|(_, log)| log.clone()).unwrap_or_default();
        outputs.push(("joined reads", joined(&log)));
        for (case, played) in cases.iter().zip(played.into_iter().flatten()) {
            check_split(case, &played.local, &log)?;
            let late = played.late.map(|late| finds(&case.canary, &late));
            found.push(Found { case: case.name.clone(), whole: finds(&case.canary, &outputs), late });
        }
    }
    ensure!(found.len() == all.len(), "{} of {} cases ran", found.len(), all.len());
    Ok(found)
}

fn of_a_milters_messages_no_piece_is_found() -> Result<()> {
    let found = message_through_a_milter(&lab::run::tracer_path()?, &folder("secrets-milter"))?;
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    lab::packages::target_dir().join("lab-out").join(name)
}

fn no_canary_is_found_anywhere() -> Result<()> {
    let results = matrix(&lab::run::tracer_path()?, &folder("secrets"))?;
    // The line of the title may be recorded, when it is read and not when it is found in the title.
    let whole = |found: &Found| if found.case == "title" { Vec::new() } else { found.whole.clone() };
    let places = |found: &Found| [whole(found), found.late.clone().unwrap_or_default()].concat();
    let leaks: Vec<String> =
        results.iter().filter(|found| !places(found).is_empty()).map(|found| format!("{}: {:#?}", found.case, places(found))).collect();
    ensure!(leaks.is_empty(), "{}", leaks.join("\n"));
    Ok(())
}

fn with_the_filter_off_every_canary_is_found() -> Result<()> {
    let target = lab::packages::target_dir().join("unfiltered");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "mta-trace", "--features", "unsafe-unfiltered", "--target-dir"])
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(status.success(), "the unfiltered build: {status}");
    let results = matrix(&target.join("release/mta-trace"), &folder("secrets-unfiltered"))?;
    // What a late tracer sees is the case; the daemon's sees it anyway.
    let is_hidden = |found: &&Found| found.late.as_ref().unwrap_or(&found.whole).is_empty();
    let hidden: Vec<&str> = results.iter().filter(is_hidden).map(|found| found.case.as_str()).collect();
    ensure!(hidden.is_empty(), "the search would not have found: {hidden:#?}");
    let found = message_through_a_milter(&target.join("release/mta-trace"), &folder("secrets-milter-unfiltered"))?;
    ensure!(!found.is_empty(), "the search would not have found a piece of the message");
    Ok(())
}

fn main() -> ExitCode {
    let trial = |name, test: fn() -> Result<()>| Trial::new(name, true, move || test().map_err(|error| Failed::from(format!("{error:#}"))));
    let trials = vec![
        trial("no_canary_is_found_anywhere", no_canary_is_found_anywhere),
        trial("of_a_milters_messages_no_piece_is_found", of_a_milters_messages_no_piece_is_found),
        trial("with_the_filter_off_every_canary_is_found", with_the_filter_off_every_canary_is_found),
    ];
    harness::run("secrets", trials, None)
}
