//! mta-trace: shows why a mail server makes its clients wait.
//!
//! Modules in the order in which data flows; see `ARCHITECTURE.md`.

pub mod analysis;
pub mod cause;
pub mod cli;
pub mod compare;
pub mod decode;
pub mod diagnosis;
pub mod event;
pub mod export;
pub mod kernel;
pub mod live;
pub mod log;
pub mod mta;
pub mod options;
pub mod probe;
pub mod proto;
pub mod report;
pub mod session;
pub mod source;
pub mod state;
pub mod update;
pub mod view;
pub mod wait;
