//! Folded stacks, drawn by the crate `inferno` (flame graphs as Brendan Gregg's scripts draw them).

use anyhow::{Context, Result, ensure};
use inferno::flamegraph::{Options, from_reader};
use mta_trace::report::{Report, Wait};

/// Whoever draws it sees each cause and target, and as many microseconds as the report has of waits.
pub fn drawn() -> Result<()> {
    let folder = super::folder("folded")?;
    let mut drawn = 0;
    for (name, path) in super::golden::logs()? {
        let log = std::fs::read(&path)?;
        let to = folder.join(&name);
        super::export(&log, "folded", super::golden::output("folded", &to)?)?;
        let folded = std::fs::read_to_string(&to)?;
        let report: Report = serde_json::from_slice(&super::report(&log)?)?;
        let waits: Vec<&Wait> =
            report.sessions.iter().flat_map(|session| session.commands.iter().flat_map(|it| &it.waits).chain(&session.between)).collect();
        let expected_us: f64 = waits.iter().map(|wait| wait.elapsed_s * 1e6).sum();
        if folded.is_empty() {
            ensure!(waits.iter().all(|wait| wait.elapsed_s < 1e-6), "{name}: waits without a stack");
            continue;
        }
        let mut picture = Vec::new();
        let mut options = Options::default();
        "us".clone_into(&mut options.count_name);
        // Narrower frames are left out of a picture otherwise.
        options.min_width = 0.0;
        from_reader(&mut options, folded.as_bytes(), &mut picture).with_context(|| format!("{name}: {folded}"))?;
        let picture = String::from_utf8(picture).context("a picture in UTF-8")?;
        let all_us = samples(&picture, "all").with_context(|| format!("{name}: no frame for all"))?;
        // Each wait, and each inner one, is cut to whole microseconds.
        let cut = waits.iter().map(|wait| 1 + wait.inner.len()).sum::<usize>() as f64 * 2.0;
        ensure!((all_us as f64 - expected_us).abs() <= cut, "{name}: {all_us} us are drawn, {expected_us} us were waited");
        for wait in waits.iter().filter(|wait| wait.elapsed_s >= 2e-6) {
            ensure!(samples(&picture, wait.cause.name()).is_some(), "{name}: no frame for {}", wait.cause.name());
        }
        drawn += 1;
    }
    ensure!(drawn > 80, "only {drawn} pictures");
    Ok(())
}

/// What the title of the first frame with this name says: `<title>NAME (1,234 us, 5.6%)</title>`.
fn samples(picture: &str, frame: &str) -> Option<u64> {
    let (_, rest) = picture.split_once(&format!("<title>{frame} ("))?;
    rest.split_once(" us")?.0.replace(',', "").parse().ok()
}
