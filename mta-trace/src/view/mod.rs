//! Views: what people read.
//!
//! In: updates while the trace runs, records, and at the end the report. Out: text and JSON. Invariant: text from the
//! network goes to a terminal only through [`escape`]. Not here: any interpretation.

pub mod accepted;
pub mod accepts;
pub mod comparison;
pub mod escape;
pub mod html;
pub mod json;
pub mod probe;
pub mod strace;
pub mod summary;
pub mod timeline;

pub(crate) mod errno;
mod layout;
pub(crate) mod strace_args;
pub(crate) mod words;

#[cfg(test)]
mod samples;
