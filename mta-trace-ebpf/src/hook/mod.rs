//! The programs, one file per family. `call` holds what all system call programs share.

mod back_end;
mod backlog;
mod call;
mod client;
mod messages;
mod net;
mod passage;
mod plain;
mod poll;
mod process;
mod request;
mod sched;
