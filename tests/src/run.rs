//! One scenario with the tracer: lab up, attach, faults, dialogue, report, comparison.
//!
//! In comes a scenario; log, report and journal stay in `lab-out/NAME` of the target folder, differences are the error.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Played;
use crate::packages::{Packages, target_dir};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::tracer::Tracer;
use crate::{Lab, compare};

/// Name of the log in a scenario's folder.
pub const LOG: &str = "trace.jsonl";

/// What the tracer may need to end after the session has ended.
const END_LIMIT: Duration = Duration::from_secs(15);

/// The tracer's binary: `MTA_TRACE_BIN`, else beside this test's own, else a release build.
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
    let mut tracer = Tracer::attach(&tracer_path()?, lab.daemon_pid(), &scenario.client, lab.dir())?;
    drop(setting_up);
    lab.install_faults().context("install the faults")?;
    lab.play_other()?;
    let played = lab.play(&scenario.dialogue, |_| {});
    let limit = Duration::from_secs(scenario.time_limit_s);
    let ended = if played.is_ok() { tracer.wait(limit.max(END_LIMIT)) } else { tracer.stop(END_LIMIT) };
    lab.journal().save(&lab.dir().join("journal.jsonl"))?;
    let played = played?;
    ended?;
    Ok(Traced { played, events: lab.journal().events(), dir: lab.dir().to_owned() })
}

/// What a recording left.
pub struct Traced {
    /// By the client's clock.
    pub played: Played,
    /// By everybody's.
    pub events: Vec<crate::journal::Event>,
    /// Where the log is.
    pub dir: PathBuf,
}

/// Runs a scenario and fails with every difference.
pub fn run(scenario: &Scenario) -> Result<()> {
    let traced = trace(scenario)?;
    let text = report_of(&traced.dir)?;
    let json: serde_json::Value = serde_json::from_str(&text).context("parse the report")?;
    let mut problems = schema_problems(&json)?;
    match serde_json::from_value::<Report>(json) {
        Ok(report) => problems.extend(compare::problems(scenario, &traced.played, &traced.events, &report)),
        Err(error) => problems.push(format!("report: {error}")),
    }
    if !problems.is_empty() {
        bail!("{}\nlog, report and journal are in {}", problems.join("\n"), traced.dir.display());
    }
    Ok(())
}

fn report_of(dir: &Path) -> Result<String> {
    let output = Command::new(tracer_path()?)
        .arg("report")
        .arg(dir.join(LOG))
        .args(["--format", "json"])
        .stdin(Stdio::null())
        .stderr(File::create(dir.join("report.err")).context("create report.err")?)
        .output()
        .context("run mta-trace report")?;
    std::fs::write(dir.join("report.json"), &output.stdout).context("write report.json")?;
    let stderr = || std::fs::read_to_string(dir.join("report.err")).unwrap_or_default();
    ensure!(output.status.success(), "mta-trace report: {}: {}", output.status, stderr());
    String::from_utf8(output.stdout).context("the report is no UTF-8")
}

fn schema_problems(report: &serde_json::Value) -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mta-trace/schema/report.schema.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let schema = serde_json::from_str(&text).context("parse the schema")?;
    let validator = jsonschema::validator_for(&schema).context("compile the schema")?;
    Ok(validator.iter_errors(report).map(|error| format!("schema: {}: {error}", error.instance_path())).collect())
}

/// Runs a scenario and keeps its log as `tests/replay/NAME.jsonl`.
pub fn record(scenario: &Scenario) -> Result<PathBuf> {
    let traced = trace(scenario)?;
    let replay = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay");
    std::fs::create_dir_all(&replay).context("create tests/replay")?;
    let to = replay.join(format!("{}.jsonl", scenario.name));
    let log = std::fs::read_to_string(traced.dir.join(LOG)).context("read the log")?;
    // The log names sendmail by where it was unpacked, which is nobody's business and different everywhere.
    let unpacked = Packages::unpack()?.sendmail("");
    let log = log.replace(&*unpacked.to_string_lossy(), "/");
    std::fs::write(&to, log).with_context(|| format!("write {}", to.display()))?;
    Ok(to)
}
