//! What the fuzz targets check, one file each; `fuzz_targets/NAME.rs` only hands the bytes on.
//!
//! Bytes in; a panic where a property does not hold. Each target has seeds, made from the golden logs when it starts. Not here: how
//! they are run (`cargo xtask fuzz`, or `cargo fuzz run`).

pub mod dns;
pub mod log;
pub mod milter;
pub mod probe;
pub mod ring;
pub mod scanner;
pub mod seeds;
pub mod smtp;

mod check;
mod input;
mod kernel;
mod raw;
