//! What this kernel can do, found out by doing it: every hook is attached once, for `mta-trace doctor`.
//!
//! In: nothing. Out: what came of each. Nothing stays attached. Nothing is traced, since no bit is set.

use super::{Error, object::Object, proc, target};
use crate::options::RING_BYTES;
use mta_trace_common::config::Settings;

/// What was tried, and what was found or why it does not work.
#[derive(Debug)]
pub struct Probe {
    /// In a word or two.
    pub what: String,
    /// What was found, or what is in the way.
    pub result: Result<String, String>,
}

/// Name of a program, instructions that the verifier walked through, bytes of the translated program.
pub type Programs = Vec<(String, u32, u32)>;

/// Loads the object, makes the ring, attaches every hook, and takes all of it away again.
///
/// `fexit` programs are left out while another tracer is at work: at each that comes or goes the kernel skips those of others for the calls
/// that are under way (kernel/bpf/trampoline.c, `bpf_tramp_image_put`).
pub fn probe(has_others: bool) -> (Vec<Probe>, Programs) {
    let of = |what: &str, result| Probe { what: what.to_owned(), result };
    let mut object = match Object::load(Settings::ZERO, &[], RING_BYTES) {
        Ok(object) => object,
        Err(error) => return (vec![of("eBPF object", Err(reason(&error)))], Vec::new()),
    };
    let mut probes = vec![of("eBPF object", Ok("loaded, and accepted by the kernel's verifier".to_owned()))];
    // Programs need the ring as long as they are loaded.
    let ring = object.ring();
    probes.push(of("ring buffer", ring.as_ref().map(|_| format!("{} MiB", RING_BYTES >> 20)).map_err(reason)));
    let hooks = object.attach_each(!has_others);
    let has_fentry = hooks.iter().any(|(hook, result)| *hook == FENTRY && result.is_ok());
    probes.extend(hooks.into_iter().map(|(hook, result)| match result {
        Ok(()) => of(hook, Ok("attached, and detached again".to_owned())),
        // The other back end does.
        Err(error) if hook == FENTRY => of(hook, Ok(format!("not on this kernel ({})", reason(&error)))),
        Err(error) => of(hook, Err(reason(&error))),
    }));
    let back_end = match (has_others, has_fentry) {
        (true, _) => "fentry was not tried: another mta-trace is attached, which would miss the ends of calls",
        (false, true) => FENTRY,
        (false, false) => "tracepoint",
    };
    probes.push(of("back end", Ok(back_end.to_owned())));
    (probes, object.programs())
}

/// The back end that a kernel may do without.
const FENTRY: &str = "fentry";

/// Without the advice to ask the doctor.
fn reason(error: &Error) -> String {
    match error {
        Error::Hook { hook, step, reason } => format!("{hook}: {step}: {reason}"),
        Error::NoFentry(reason) => reason.clone(),
        other => other.to_string(),
    }
}

/// Who else looks at mail servers here.
#[derive(Debug, Default)]
pub struct Others {
    /// Other mta-traces that are attached.
    pub tracers: Vec<String>,
    /// Debuggers attached to a mail server.
    pub debuggers: Vec<String>,
}

/// Looks for them in /proc.
pub fn others() -> Others {
    let own = std::process::id();
    let mut found = Others::default();
    for pid in proc::all().into_iter().filter(|pid| *pid != own) {
        let Some(exe) = proc::exe(pid) else { continue };
        // One that only reads a log holds no program.
        if exe.ends_with("/mta-trace") && proc::descriptors(pid).iter().any(|(_, link)| link == "anon_inode:bpf-prog") {
            found.tracers.push(format!("mta-trace, pid {pid}"));
        }
        let tracer = proc::status(pid, "TracerPid").filter(|tracer| *tracer != 0);
        if let Some(tracer) = tracer.filter(|_| target::is_mta(&exe)) {
            let name = proc::comm(tracer).unwrap_or_else(|| "?".to_owned());
            found.debuggers.push(format!("{name} (pid {tracer}) on {exe} (pid {pid}), which makes the server slower and its times wrong"));
        }
    }
    found
}
