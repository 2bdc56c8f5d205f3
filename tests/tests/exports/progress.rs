//! An export that takes its time, on a terminal and elsewhere.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::terminal::Terminal;

/// What is over sooner has no line (`cli/progress.rs`); twice that.
const LONG: Duration = Duration::from_secs(1);
const MIB: u64 = 4;

/// The line comes, tells the log's size, and is gone at the end; where standard error is no terminal, nothing is said.
pub fn a_terminal_shows_how_far_it_has_come() -> Result<()> {
    let log = super::folder("progress")?.join("long.jsonl");
    lab::grow::grow(&super::big::golden("ident-slow")?, MIB << 20, &log)?;
    let terminal = Terminal::open(24, 80)?;
    let command = |stderr: Stdio, term: &str| {
        let mut command = Command::new(lab::run::tracer_path()?);
        command.arg("export").arg(&log).args(["--to", "log"]).env("TERM", term).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        command.spawn().context("start mta-trace")
    };
    let mut child = command(terminal.side()?.into(), "xterm")?;
    let mut out = child.stdout.take().context("its output")?;
    // It stands still as long as nobody takes what it writes.
    let mut first = [0; 4096];
    out.read_exact(&mut first).context("the beginning of the export")?;
    std::thread::sleep(LONG);
    let rest = std::io::copy(&mut out, &mut std::io::sink())?;
    ensure!(child.wait()?.success() && rest > 1 << 20, "the export failed, or was short: {rest} bytes");
    let mut said = Vec::new();
    // The last one to have it open was the program: EIO.
    let _ = File::from(terminal.window).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.contains(&format!(" of {MIB} MiB, ")) && said.contains(" % ") && said.contains('#'), "{said:?}");
    ensure!(said.ends_with("\r\x1b[2K") && !said.contains('\n'), "the line stays: {said:?}");

    let mut child = command(Stdio::piped(), "xterm")?;
    let mut out = child.stdout.take().context("its output")?;
    out.read_exact(&mut first).context("the beginning of the export")?;
    std::thread::sleep(LONG);
    std::io::copy(&mut out, &mut std::io::sink())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
