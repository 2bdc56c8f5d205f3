//! Arguments of `mta-trace doctor`.

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  sudo mta-trace doctor
  sudo mta-trace doctor --programs | sort -k3 -n -r
                                              the largest programs first

Exit codes: 0 it can, 3 something is missing. Leaves nothing attached.";

/// Tell whether tracing can work here, and what is missing
///
/// Looks at the kernel, its settings and this process's capabilities, loads the eBPF object and tries every hook of both back ends; says of each what was
/// found, or what to do. Nothing stays attached.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Doctor {
    /// Also list the eBPF programs
    ///
    /// With the instructions that the verifier walked through, and the bytes of machine code.
    #[arg(long)]
    pub programs: bool,
}
