//! Logs that are long, and logs that are broken.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use mta_trace::export::{FORMATS, Form};

const PARQUET: &str = "parquet";

/// Sizes of the two logs, MiB; `MTA_TRACE_EXPORT_MIB` makes the larger one larger, for measurements. The smaller one has more than the 1,000 sessions that the analysis keeps.
const SMALL: u64 = 12;
const LARGE: u64 = 48;
/// What the larger one may need more, KiB: a twentieth of what it has more. It was 0.8 MiB at most; what is held of a session is gone with it.
const GROWTH_KIB: u64 = 2 * 1024;
/// Of Parquet the rows of a group are held, 10,000 of each of its tables (`export/parquet.rs`), which these logs do not fill.
const GROUPS_KIB: u64 = 32 * 1024;

pub fn golden(name: &str) -> Result<String> {
    let path = super::golden::path(name);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// In each format, Parquet too, of four times as many sessions.
pub fn memory_stays() -> Result<()> {
    let folder = super::folder("big")?;
    let log = golden("ident-slow")?;
    let mut problems = Vec::new();
    let large = std::env::var("MTA_TRACE_EXPORT_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(LARGE);
    for mib in [SMALL, large] {
        lab::grow::grow(&log, mib << 20, &folder.join(format!("{mib}.jsonl")))?;
    }
    let is_folder = |form: Form| matches!(form, Form::Folder | Form::Tables(_));
    let plain = FORMATS.iter().map(|format| (format.name, is_folder(format.form), false));
    // This test is built without it, so its table is too.
    for (name, is_folder, is_anonymous) in plain.chain([(PARQUET, true, false), ("log", false, true)]) {
        let mut peaks = Vec::new();
        let began = std::time::Instant::now();
        for mib in [SMALL, large] {
            let to = folder.join(format!("{mib}.{name}"));
            let program = if name == PARQUET { super::pages::with_parquet()? } else { lab::run::tracer_path()? };
            let mut command = Command::new(program);
            command.arg("export").arg(folder.join(format!("{mib}.jsonl"))).args(["--to", name]);
            command.args(is_anonymous.then_some("--anonymize"));
            if is_folder {
                command.arg("-o").arg(&to);
            }
            peaks.push(peak_kib(&mut command)?);
            if to.is_dir() {
                std::fs::remove_dir_all(&to)?;
            }
        }
        let name = if is_anonymous { format!("{name}, anonymous") } else { name.to_owned() };
        println!("{name}: {peaks:?} KiB for {SMALL} and {large} MiB, {:.1} s", began.elapsed().as_secs_f64());
        let (few, many) = (peaks.first().copied().unwrap_or_default(), peaks.last().copied().unwrap_or_default());
        if many > few + if name == PARQUET { GROUPS_KIB } else { GROWTH_KIB } {
            problems.push(format!("{name}: {few} KiB for {SMALL} MiB, {many} KiB for {large} MiB"));
        }
    }
    ensure!(problems.is_empty(), "memory grows with the log\n{}", problems.join("\n"));
    std::fs::remove_dir_all(&folder).context("remove the logs")
}

/// The most memory that a command had: its `VmHWM`, looked at until it is over.
fn peak_kib(command: &mut Command) -> Result<u64> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start mta-trace")?;
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let now = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        peak = now.unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait().context("wait for mta-trace")? {
            ensure!(status.success(), "{command:?}: {status}");
            ensure!(peak > 0, "{command:?} was over before it was looked at");
            return Ok(peak);
        }
        // Of a process that has ended /proc says nothing more, so there is no event behind which its peak could be read.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// A million bad lines are one sentence, and what is readable is exported.
pub fn unreadable_lines_are_counted() -> Result<()> {
    let folder = super::folder("unreadable")?;
    let log = golden("ident-slow")?;
    let (header, rest) = log.split_once('\n').context("a log of one line")?;
    let bad = "{\"k\":\"sys\",\"t\":\"x\"}\n".repeat(1_000) + &"\u{1b}[2J no JSON\n".repeat(500);
    let path = folder.join("bad.jsonl");
    std::fs::write(&path, format!("{header}\n{bad}{rest}")).context("write the log")?;
    for format in FORMATS {
        let to = folder.join(format.name);
        let mut command = Command::new(lab::run::tracer_path()?);
        let output = command.arg("export").arg(&path).args(["--to", format.name, "-o"]).arg(&to).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {said}", format.name);
        let expected = ": 1500 lines could not be read and were passed over; the first is line 2: ";
        ensure!(said.contains(expected) && said.lines().count() == 1, "{}: {said}", format.name);
        ensure!(to.is_dir() || to.metadata()?.len() > 0, "{}: nothing was written", format.name);
    }
    Ok(())
}
