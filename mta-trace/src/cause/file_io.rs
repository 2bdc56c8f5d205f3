//! `file-io`: any other call to a file system that blocked, and page faults.

use super::{Explained, Match, Present};
use crate::state::Object;
use crate::wait::Step;
use mta_trace_common::syscalls::Call;

pub(super) fn recognise(step: &Step, _present: Option<&Present>) -> Match {
    let is_path_call = matches!(
        step.call,
        Some(Call::Open | Call::Openat | Call::Rename | Call::Renameat | Call::Renameat2 | Call::Unlink | Call::Unlinkat | Call::Chdir)
    );
    let is_file = matches!(&step.object, Some(Object::File(path)) if is_on_disk(path)) && !step.is_poll();
    let is_positioned = matches!(step.call, Some(Call::Pread64 | Call::Pwrite64));
    let is_file_io = step.is_file_system || is_path_call || is_file || is_positioned;
    if is_file_io && step.is_blocked { Match::Begins } else { Match::No }
}

/// Not `pipe:[7]`, `anon_inode:...`.
fn is_on_disk(path: &str) -> bool {
    !path.split('/').next().is_some_and(|first| first.contains(':'))
}

pub(super) fn explain(steps: &[Step]) -> Explained {
    let target = steps.last().and_then(Step::file).map(str::to_owned);
    Explained::of(steps).with_target(target)
}
