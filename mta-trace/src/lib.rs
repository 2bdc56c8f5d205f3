//! mta-trace: shows why a mail server makes its clients wait.
//!
//! Modules in the order in which data flows; see `ARCHITECTURE.md`.

pub mod decode;
pub mod diagnosis;
pub mod event;
pub mod wait;
pub mod state;
pub mod session;
pub mod proto;
pub mod log;
pub mod cause;
pub mod analysis;
pub mod kernel;
pub mod options;
pub mod report;
pub mod update;
pub mod cli;
pub mod live;
pub mod view;
pub mod source;
