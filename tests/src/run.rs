//! One scenario with the tracer: lab up, attach, faults, dialogue, report, comparison.
//!
//! In comes a scenario; log, report and journal stay in `lab-out/NAME` of the target folder, differences are the error.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Played;
use crate::packages::{Packages, target_dir};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::tracer::{Ended, READY, Tracer};
use crate::truth::Truth;
use crate::{Lab, compare, mta};

/// Name of the log in a scenario's folder.
pub const LOG: &str = "trace.jsonl";

/// Name of what the neighbours measured, there.
pub const TRUTH: &str = "truth.json";

/// What the tracer may need to end after the session has ended.
const END_LIMIT: Duration = Duration::from_secs(15);

/// Loading and attaching may wait for a busy machine's verifier.
pub const READY_LIMIT: Duration = Duration::from_mins(1);

/// The tracer's binary: `MTA_TRACE_BIN`, else the target folder's release build, else its debug build. A test does not
/// build it: `cargo xtask test`, also with `--only`, does that first.
pub fn tracer_path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MTA_TRACE_BIN") {
        return Ok(path.into());
    }
    let profiles = ["release", "debug"];
    let found = profiles.iter().map(|profile| target_dir().join(profile).join("mta-trace")).find(|path| path.is_file());
    found.context("no mta-trace in the target folder: build it (`cargo build --release`) or set MTA_TRACE_BIN")
}

/// Held while a lab is put up and the tracer loads: that takes a core for a while, and many at once would disturb the
/// sessions that are being measured.
static SETTING_UP: Mutex<()> = Mutex::new(());

/// Records a scenario; gives what was played and the lab's folder, with log and journal in it.
pub fn trace(scenario: &Scenario) -> Result<Traced> {
    let setting_up = SETTING_UP.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::up(scenario).context("put the lab up")?;
    let tracer = attach(&lab, scenario)?;
    drop(setting_up);
    lab.install_faults().context("install the faults")?;
    lab.play_other()?;
    let played = lab.play_all();
    let limit = Duration::from_secs(scenario.time_limit_s);
    let ended = if played.is_ok() { tracer.wait(limit.max(END_LIMIT)) } else { tracer.interrupt(END_LIMIT) };
    lab.journal().save(&lab.dir().join("journal.jsonl"))?;
    let played = played?;
    let Ended { stdout, .. } = ended.and_then(Ended::success)?;
    let summary = String::from_utf8(stdout).context("what the tracer printed is no UTF-8")?;
    Ok(Traced { played, events: lab.journal().events(), dir: lab.dir().to_owned(), summary })
}

/// Attaches to the lab's daemon for one session of the scenario's client and waits until all hooks are in place.
fn attach(lab: &Lab, scenario: &Scenario) -> Result<Tracer> {
    let mut command = Command::new(tracer_path()?);
    command.args(["attach", "-p", &lab.daemon_pid().to_string(), "--client", &scenario.client, "--sessions", "1", "-o"]).arg(lab.dir().join(LOG));
    // Which back end is tested. Not `auto`, which may be `fentry`: with scenarios side by side each tracer that comes or goes makes the
    // kernel skip the others' exits of the calls that are under way (bpf_tramp_image_put, kernel/bpf/trampoline.c).
    command.arg("--hooks").arg(std::env::var_os("MTA_TRACE_HOOKS").unwrap_or_else(|| "tracepoint".into()));
    if !scenario.chains {
        command.arg("--no-chains");
    }
    crate::netns::die_with_parent(&mut command);
    let tracer = Tracer::start_in(&mut command, lab.dir())?;
    tracer.wait_for(READY, READY_LIMIT).context("attach")?;
    Ok(tracer)
}

/// Where the lab of a scenario keeps what it leaves.
pub fn dir_of(scenario: &Scenario) -> PathBuf {
    target_dir().join("lab-out").join(&scenario.name)
}

/// What a recording left.
pub struct Traced {
    /// By the client's clock.
    pub played: Played,
    /// By everybody's.
    pub events: Vec<crate::journal::Event>,
    /// Where the log is.
    pub dir: PathBuf,
    /// What the tracer printed: the timeline, and the summary at its end.
    pub summary: String,
}

/// Runs a scenario and fails with every difference.
pub fn run(scenario: &Scenario) -> Result<()> {
    compare(scenario, &trace(scenario)?)
}

fn compare(scenario: &Scenario, traced: &Traced) -> Result<()> {
    Truth::of(scenario, &traced.played, &traced.events).save(&traced.dir.join(TRUTH))?;
    let json: serde_json::Value = serde_json::from_str(&report_of(&traced.dir, "json")?).context("parse the report")?;
    let mut problems = schema_problems(&json)?;
    problems.extend(helpers_problem(scenario, &std::fs::read_to_string(traced.dir.join(LOG)).context("read the log")?));
    problems.extend(summary_problem(&traced.summary, &report_of(&traced.dir, "text")?));
    match serde_json::from_value::<Report>(json) {
        Ok(report) => problems.extend(compare::problems(scenario, &traced.played, &traced.events, &report)),
        Err(error) => problems.push(format!("report: {error}")),
    }
    if !problems.is_empty() {
        bail!("{}\nlog, report and journal are in {}", problems.join("\n"), traced.dir.display());
    }
    Ok(())
}

/// Who was taken into the trace because a session waits for it, by name, each once.
fn helpers_problem(scenario: &Scenario, log: &str) -> Option<String> {
    let wanted = scenario.expect.helpers.as_ref()?;
    let records = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found: Vec<String> =
        records.filter(|record| record["k"] == "helper").filter_map(|record| Some(record["comm"].as_str()?.to_owned())).collect();
    found.sort_unstable();
    found.dedup();
    (found != *wanted).then(|| format!("expected {wanted:?} to be taken into the trace, found {found:?}"))
}

/// The live summary is the end of what the tracer printed, and the report of its log is the same text.
fn summary_problem(printed: &str, report: &str) -> Option<String> {
    (report.trim().is_empty() || !printed.ends_with(report)).then(|| format!("the live summary is not the report of its log, which is\n{report}"))
}

fn report_of(dir: &Path, format: &str) -> Result<String> {
    let report = report_of_log(&dir.join(LOG), format)?;
    std::fs::write(dir.join(format!("report.{format}")), &report).context("write the report")?;
    Ok(report)
}

/// What the tracer's binary says of a log.
pub fn report_of_log(log: &Path, format: &str) -> Result<String> {
    let mut command = Command::new(tracer_path()?);
    let output = command.arg("report").arg(log).args(["--format", format]).stdin(Stdio::null()).output().context("run mta-trace report")?;
    ensure!(output.status.success(), "mta-trace report: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).context("the report is no UTF-8")
}

/// Where a report differs from its schema.
pub fn schema_problems(report: &serde_json::Value) -> Result<Vec<String>> {
    let validator = jsonschema::validator_for(&schema()?).context("compile the schema")?;
    Ok(validator.iter_errors(report).map(|error| format!("schema: {}: {error}", error.instance_path())).collect())
}

/// The report's schema.
pub fn schema() -> Result<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mta-trace/schema/report.schema.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).context("parse the schema")
}

/// Runs a scenario and keeps its log as `tests/replay/NAME.jsonl`, if the report says what is expected: a golden log
/// that was wrong when it was made would be right for ever.
pub fn record(scenario: &Scenario) -> Result<PathBuf> {
    let traced = trace(scenario)?;
    compare(scenario, &traced)?;
    let replay = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay");
    std::fs::create_dir_all(&replay).context("create tests/replay")?;
    let to = replay.join(format!("{}.jsonl", scenario.name));
    let log = std::fs::read_to_string(traced.dir.join(LOG)).context("read the log")?;
    // The log names the MTA by where it was unpacked, which is nobody's business and different everywhere.
    let unpacked = Packages::unpack(mta::of(scenario.mta))?;
    let log = unpacked.folders()?.iter().fold(log, |log, folder| log.replace(&*folder.to_string_lossy(), "/"));
    let log = log.replace(&*traced.dir.to_string_lossy(), "");
    let log = without_kernel_flavour(&log)?;
    let target = target_dir().canonicalize().context("resolve the target folder")?;
    if let Some(line) = log.lines().find(|line| line.contains(&*target.to_string_lossy())) {
        bail!(
            "the log names {}: {line}\nWhere a thread of the lab is what the session waits for, the scenario says `chains = false`",
            target.display()
        );
    }
    std::fs::write(&to, log).with_context(|| format!("write {}", to.display()))?;
    Truth::of(scenario, &traced.played, &traced.events).save(&to.with_extension("truth.json"))?;
    Ok(to)
}

/// The header names the kernel; of `6.1.0-18-cloud-amd64` everybody may know the version, the rest is this machine's.
fn without_kernel_flavour(log: &str) -> Result<String> {
    let (header, rest) = log.split_once('\n').context("a log of one line")?;
    let header: serde_json::Value = serde_json::from_str(header).context("the log's header")?;
    let release = header.get("kernel").and_then(serde_json::Value::as_str).context("the header names no kernel")?;
    let version = release.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    // In the text, so that the order of the fields stays.
    let first = log.get(..log.len() - rest.len()).unwrap_or_default();
    Ok(first.replacen(&format!("\"{release}\""), &format!("\"{version}\""), 1) + rest)
}

/// A program where everybody may run it: a home folder is closed to others. Whoever asks for it removes its folder.
pub fn copy_for_everybody(program: &Path, name: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = std::env::temp_dir().join(format!("mta-trace-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).with_context(|| format!("mode of {}", dir.display()))?;
    let to = dir.join("mta-trace");
    // By another process: a descriptor of ours that writes it would be inherited by what other tests start, and make it busy.
    let status = Command::new("cp").arg(program).arg(&to).status().context("run cp")?;
    ensure!(status.success(), "cp {}: {status}", program.display());
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).with_context(|| format!("mode of {}", to.display()))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_kernel_only_the_version_is_recorded() {
        let log = "{\"k\":\"header\",\"kernel\":\"6.1.0-18-cloud-amd64\",\"arch\":\"x86_64\"}\n{\"k\":\"end\"}\n";
        let clean = without_kernel_flavour(log).expect("a log");
        assert_eq!(clean, "{\"k\":\"header\",\"kernel\":\"6.1.0\",\"arch\":\"x86_64\"}\n{\"k\":\"end\"}\n");
    }

    #[test]
    fn a_summary_that_differs_is_a_problem() {
        assert_eq!(summary_problem("timeline\nreport\n", "report\n"), None);
        assert!(summary_problem("timeline\nother\n", "report\n").is_some());
        assert!(summary_problem("timeline\n", "").is_some());
    }
}
