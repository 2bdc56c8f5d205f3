//! `doctor`: whether tracing can work here, and what is missing.
//!
//! In: /proc, /sys, and what the kernel says when every hook is tried. Out: one line for each need, with what to do where
//! it is not met. Leaves nothing changed.

mod system;

use super::args::doctor::Doctor;
use super::output::Failure;
use crate::event::LOG_SCHEMA;
use crate::kernel;
use crate::view::escape::escape;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Ok,
    /// Works, but not as well as it could.
    Note,
    Missing,
}

struct Need {
    name: String,
    mark: Mark,
    /// What was found, or what to do.
    text: String,
}

impl Need {
    fn ok(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), mark: Mark::Ok, text }
    }

    fn note(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), mark: Mark::Note, text }
    }
}

/// Looks, prints, and fails with 3 if something is missing.
pub fn run(doctor: &Doctor) -> Result<(), Failure> {
    let (needs, programs) = needs();
    let mut out = io::stdout().lock();
    for Need { name, mark, text } in &needs {
        let mark = match mark {
            Mark::Ok => "ok",
            Mark::Note => "note",
            Mark::Missing => "MISSING",
        };
        writeln!(out, "{mark:<7}  {name:<20} {}", escape(text)).map_err(Failure::io)?;
    }
    for (name, instructions, bytes) in programs.iter().filter(|_| doctor.programs) {
        writeln!(out, "program  {name:<28} {instructions:>8} instructions verified, {bytes:>6} bytes").map_err(Failure::io)?;
    }
    out.flush().map_err(Failure::io)?;
    let missing: Vec<&str> = needs.iter().filter(|need| need.mark == Mark::Missing).map(|need| need.name.as_str()).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::not_able(format!("tracing cannot work here, missing: {}; `report` works all the same", missing.join(", "))))
    }
}

fn needs() -> (Vec<Need>, kernel::Programs) {
    let mut needs = vec![Need::ok("mta-trace", format!("{}, writes {LOG_SCHEMA}", env!("CARGO_PKG_VERSION")))];
    needs.extend(system::needs());
    let others = kernel::others();
    let (probes, programs) = kernel::probe(!others.tracers.is_empty());
    needs.extend(probes.into_iter().map(|kernel::Probe { what, result }| match result {
        Ok(text) => Need { name: what, mark: Mark::Ok, text },
        Err(text) => Need { name: what, mark: Mark::Missing, text },
    }));
    let others = [others.tracers, others.debuggers].concat();
    needs.push(Need::ok("other tracers", if others.is_empty() { "none".to_owned() } else { others.join("; ") }));
    let servers = kernel::mail_servers();
    let is_blind = needs.iter().any(|need| need.mark == Mark::Missing && need.name.starts_with("CAP_"));
    needs.push(match servers.as_slice() {
        [] if is_blind => Need::note("mail servers", "cannot be looked for without these capabilities".to_owned()),
        [] => Need::ok("mail servers", "none is found that is known by its name; `mta-trace attach -p PID` traces any that speaks SMTP".to_owned()),
        found => Need::ok("mail servers", found.join("; ")),
    });
    (needs, programs)
}
