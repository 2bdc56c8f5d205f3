//! Machines whose processor is emulated (`cargo xtask kernels` says so by `MTA_TRACE_EMULATED=1`): every step of the lab's neighbours, of
//! sendmail and of the client takes 20 to 30 times longer, so clocks that are read on either side of a step differ by more.

/// Added to every slack, s; 0 on a machine that is what it seems.
pub fn latency_s() -> f64 {
    if std::env::var_os("MTA_TRACE_EMULATED").is_some() { 0.3 } else { 0.0 }
}
