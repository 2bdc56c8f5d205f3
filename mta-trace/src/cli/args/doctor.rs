//! Arguments of `mta-trace doctor`.

use clap::Args;

/// Tell whether tracing can work here, and what is missing
#[derive(Debug, Args)]
pub struct Doctor {
    /// Also list the eBPF programs: instructions that the verifier walked through, bytes
    #[arg(long)]
    pub programs: bool,
}
