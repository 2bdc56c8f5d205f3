//! Bad input, with the real binary: whatever is asked for or comes in, the answer is one clear sentence that says what to do, the right
//! exit code, never a panic, and the mail server goes on as if nothing were there.
//!
//! In come wrong selections, crippled surroundings, hostile bytes and broken logs; most of it against the lab's real sendmail. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

/// The tests of a module: which of them need root, and which do not.
macro_rules! tests {
    (root: $($root:ident),*; anyone: $($anyone:ident),*) => {
        pub const TESTS: &[$crate::Test] = &[
            $((module_path!(), stringify!($root), true, $root),)*
            $((module_path!(), stringify!($anyone), false, $anyone),)*
        ];
    };
}

mod daemon;
mod documents;
mod hostile;
mod lifetime;
mod logs;
mod output;
mod program;
mod running;
mod selection;
mod surroundings;
mod terminal;
mod world;

use lab::harness::{self, Case};
use std::{process::ExitCode, time::Duration};

/// Module, name, whether it needs root, and the test itself.
type Test = (&'static str, &'static str, bool, fn());

/// Longest time for anything that is expected to happen at once; a busy machine may need a part of it.
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    if selection::is_helper() {
        return selection::helper_that_listens();
    }
    let modules = [
        daemon::TESTS,
        documents::TESTS,
        hostile::TESTS,
        lifetime::TESTS,
        logs::TESTS,
        output::TESTS,
        running::TESTS,
        selection::TESTS,
        surroundings::TESTS,
        terminal::TESTS,
    ];
    let cases = modules.concat().into_iter().map(|(module, name, needs_root, test)| {
        let module = module.rsplit("::").next().unwrap_or_default();
        Case::new(&format!("{module}::{name}"), needs_root, move || {
            test();
            Ok(())
        })
    });
    harness::run("bad-input", cases.collect(), None)
}
