//! axe-core, the checker of accessibility that browsers and others use, run inside the page. It comes in a package for Python, which is only unpacked.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use lab::packages::{run, target_dir};
use serde_json::Value;

use crate::driver::Browser;

/// Holds `axe.min.js` of axe-core 4.
const PACKAGE: &str = "axe-playwright-python==0.1.8";

/// What is wrong with what is visible of the page; `incomplete` is what it cannot judge by itself.
pub fn violations(browser: &Browser) -> Result<Vec<String>> {
    let script = std::fs::read_to_string(file()?).context("read axe.min.js")?;
    browser.run(&script)?;
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then((found) => done({passes: found.passes.length, \
         violations: found.violations.map((it) => `${it.id}, ${it.nodes.length} times: ${it.help}: ${it.nodes[0].html} ${it.nodes[0].failureSummary}`)}), \
         (error) => done({passes: 0, violations: [String(error)]}));",
    )?;
    let passes = found.get("passes").and_then(Value::as_u64).unwrap_or(0);
    ensure!(passes > 20, "axe checked next to nothing: {found}");
    Ok(found.get("violations").and_then(Value::as_array).into_iter().flatten().map(ToString::to_string).collect())
}

/// The script; downloaded by pip if it is not there yet.
fn file() -> Result<PathBuf> {
    static ONCE: Mutex<()> = Mutex::new(());
    let _guard = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = target_dir().join("lab-cache").join(PACKAGE.replace("==", "-"));
    let file = folder.join("axe_playwright_python/axe.min.js");
    if !file.is_file() {
        let tools = target_dir().join("lab-cache/pip");
        run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&tools))?;
        let pip = tools.join("bin/pip");
        run(Command::new(pip)
            .args(["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--target"])
            .arg(&folder)
            .arg(PACKAGE))?;
    }
    Ok(file)
}
