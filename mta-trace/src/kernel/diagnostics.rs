//! The kernel side's own diagnostics on standard error, carried by aya-log: development builds only (feature `kernel-log`, with an object
//! that `cargo xtask ebpf --log` made). Without the feature nothing happens here.

use super::Error;
use aya::Ebpf;

#[cfg(feature = "kernel-log")]
type Logger = aya_log::EbpfLogger<Stderr>;
#[cfg(not(feature = "kernel-log"))]
type Logger = ();

/// What the kernel side wants to tell.
pub struct Diagnostics(Logger);

#[cfg(feature = "kernel-log")]
impl Diagnostics {
    /// Takes their ring out of the object, before a program is loaded.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        aya_log::EbpfLogger::init_with_logger(ebpf, Stderr)
            .map(Self)
            .map_err(|error| Error::Object(format!("diagnostics ({error}); make it by `cargo xtask ebpf --log`")))
    }

    /// Tells what has come.
    pub fn tell(&mut self) {
        self.0.flush();
    }
}

#[cfg(not(feature = "kernel-log"))]
#[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signatures as with the feature")]
impl Diagnostics {
    pub fn take(_: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self(()))
    }

    pub fn tell(&mut self) {}
}

#[cfg(feature = "kernel-log")]
struct Stderr;

#[cfg(feature = "kernel-log")]
impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        use std::io::Write as _;
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "kernel: {}", record.args());
    }

    fn flush(&self) {}
}
