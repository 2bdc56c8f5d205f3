//! mta-trace: shows why a mail server makes its clients wait.
//!
//! Modules in the order in which data flows; see `ARCHITECTURE.md`.

pub mod event;
pub mod report;
pub mod update;
