//! Man pages and completions of the command line: `cargo xtask share`.
//!
//! The test that compares them with the definition also writes them, so that there is one way in which they are made.

use crate::shell::run;

/// Makes `mta-trace/share/` anew.
pub fn make() -> anyhow::Result<()> {
    run(crate::shell::cargo().args(["test", "--quiet", "--package", "mta-trace", "--test", "share", "man_pages"]).env("BLESS", "1"))
}
