//! The kernel side's own diagnostics: who is followed and why. In development builds only (feature `log`, carried by aya-log);
//! nothing of it is in the committed object. Numbers only: no byte of the traced process may be told here.

/// Tells one thing, as `aya_log_ebpf::debug!` does; without the feature it is nothing.
#[cfg(feature = "log")]
macro_rules! diagnose {
    ($ctx:expr, $($what:tt)*) => { aya_log_ebpf::debug!($ctx, $($what)*) };
}

/// Nothing.
#[cfg(not(feature = "log"))]
macro_rules! diagnose {
    ($ctx:expr, $format:literal $(, $value:expr)* $(,)?) => {{
        let _ = (&$ctx, $(&$value),*);
    }};
}

pub(crate) use diagnose;
