//! The lab: a real mail server in namespaces of its own, faulty neighbours around it, and a client with a clock.
//!
//! In comes a scenario (`tests/lab/NAME.toml`), out go a log and a report of `mta-trace`, compared with what the
//! neighbours and the client measured themselves. Nothing here is shipped, and nothing here shares code with the
//! product: a mistake in a parser must not be able to hide itself.
//!
//! Other tools use [`Lab::up`], [`Lab::daemon_pid`], [`Lab::install_faults`] and [`Lab::play`]; the rest is one file a thing.

// What a scenario is, and what really happened.
pub mod journal;
pub mod scenario;

// The world: namespaces, neighbours, the MTA.
mod disk;
mod disk_fs;
pub mod dns;
mod dns_wire;
pub mod documents;
mod emulated;
pub mod ident;
mod lab_up;
mod late;
mod load_average;
mod lock;
mod mailer;
mod milter;
pub mod mta;
pub mod netns;
pub mod opendkim;
pub mod packages;
mod policy;
pub mod python;
mod saslauthd;
mod sink;
mod socket_map;
mod spamd;
mod stop;
pub mod unbound;
mod unix;
mod zone;

// The client and its clock.
pub mod client;
pub mod span;
pub mod telnet;
pub mod terminal;
mod tls;
mod wire;

// Load, and what becomes of a tracer under it.
pub mod bpf;
pub mod bpf_ids;
pub mod grow;
pub mod kills;
pub mod load;
pub mod memory;
pub mod soak;

// What the tracer says, against what was measured.
pub mod compare;
mod compare_wait;
pub mod harness;
pub mod matrix;
pub mod measure;
pub mod report;
pub mod run;
pub mod score;
pub mod selftest;
pub mod skips;
pub mod tracer;
pub mod truth;

pub use lab_up::Lab;
pub use stop::Stop;
