//! The golden logs, made again from the scenarios of the lab: `cargo xtask record [NAME]...`.
//!
//! Each log lies in `tests/replay/` beside the report that is expected of it. Needs root, as the live tests do.

use crate::{demo, setup};
use std::ffi::OsStr;

/// Records all scenarios, or those named.
pub fn run(names: &[String]) -> anyhow::Result<()> {
    setup::lab()?;
    let args: Vec<&OsStr> = std::iter::once("record").chain(names.iter().map(String::as_str)).map(OsStr::new).collect();
    demo::become_lab(&args).map(|never| match never {})
}
