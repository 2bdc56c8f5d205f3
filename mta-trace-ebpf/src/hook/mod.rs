//! The programs, one file per family. `call` holds what all system call programs share.

mod call;
mod client;
mod fexit;
mod net;
mod plain;
mod poll;
mod process;
mod request;
mod sched;
