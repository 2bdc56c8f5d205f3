//! What can go wrong between a selection and attached hooks; each variant says what to do next.

use std::{io, net::IpAddr, path::PathBuf};

/// Why tracing cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process has this number.
    #[error("there is no process {0}; `ps ax | grep sendmail` lists candidates")]
    NoProcess(u32),
    /// It has no program.
    #[error("process {0} is a kernel thread, which serves no mail; give the PID of the mail server")]
    KernelThread(u32),
    /// It is gone.
    #[error("process {0} ended while it was looked at; find the mail server's present PID and try again")]
    Vanished(u32),
    /// It neither listens nor serves.
    #[error(
        "process {pid} ({exe}) neither listens on a TCP port nor serves an SMTP session; give the PID of the mail server's daemon, or of a child that serves a session"
    )]
    NoServer {
        /// What was named.
        pid: u32,
        /// Its program.
        exe: String,
    },
    /// Nobody listens.
    #[error(
        "nobody listens on port {0} here; start the mail server, or give its port by --port or its PID by -p (a server inside a container has a network namespace of its own: use -p)"
    )]
    NobodyListens(u16),
    /// More than one.
    #[error("several processes listen on port {port}: {candidates}; choose one by -p PID")]
    Ambiguous {
        /// Which port.
        port: u16,
        /// `PID (program)`, comma separated.
        candidates: String,
    },
    /// No such mail server.
    #[error("no running process is {0}; name it by -p PID or --port")]
    NoMta(String),
    /// Name that we do not know.
    #[error("`{0}` is no mail server that is known here; known: {1}")]
    UnknownMta(String, String),
    /// Too many filters.
    #[error("{0} --client filters were given, at most {1} can be kept; use a shorter prefix")]
    TooManyFilters(usize, u32),
    /// Numbers of processes mean others in the kernel.
    #[error(
        "mta-trace runs in a pid namespace of its own (a container), where processes have other numbers than in the kernel: it would trace somebody else; run it on the host, or in a container with the host's pid namespace (--pid=host)"
    )]
    PidNamespace,
    /// The kernel refuses.
    #[error("{what}: not permitted; run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// No BTF.
    #[error(
        "{0}: the kernel offers no BTF, which tells where its structures lie; it needs CONFIG_DEBUG_INFO_BTF (the kernels of the big distributions have it)"
    )]
    NoBtf(io::Error),
    /// BTF of another form.
    #[error("/sys/kernel/btf/vmlinux cannot be understood; please report it with the kernel's release (`uname -r`)")]
    BtfUnreadable,
    /// A field is not there.
    #[error("this kernel has no field {structure}.{field}; please report it with the kernel's release (`uname -r`)")]
    NoField {
        /// Structure.
        structure: &'static str,
        /// Field.
        field: &'static str,
    },
    /// A child that was named serves somebody else.
    #[error("process {pid} serves {}, which no --client names; leave --client out, or give the PID of the daemon", client.map_or("nobody known".to_owned(), |it| it.to_string()))]
    OtherClient {
        /// What was named.
        pid: u32,
        /// Whom it serves.
        client: Option<IpAddr>,
    },
    /// Not a program of this kernel's own word size.
    #[error(
        "process {0} is a 32-bit program, whose system calls have other numbers: nothing can be told of it; a build of the kernel's own word size can be traced"
    )]
    Bits32(u32),
    /// The back end that was asked for.
    #[error("this kernel does not attach fentry programs ({0}); leave --hooks out, or use --hooks tracepoint")]
    NoFentry(String),
    /// The object that was built in does not fit.
    #[error("the eBPF object has ABI version {found:?}, this program wants {wanted}; build it again by `cargo xtask ebpf`")]
    Abi {
        /// What it has.
        found: Option<u32>,
        /// What we want.
        wanted: u32,
    },
    /// A hook cannot be used.
    #[error("{hook}: {step}: {reason}; `mta-trace doctor` tells what this kernel can do")]
    Hook {
        /// Which.
        hook: String,
        /// `load` or `attach`.
        step: &'static str,
        /// Why.
        reason: String,
    },
    /// A map or program of the object is missing or of another kind.
    #[error("the eBPF object has no usable {0}; build it again by `cargo xtask ebpf`")]
    Object(String),
    /// A file for what the ring brings.
    #[error("{path}: cannot be written: {source}; name a file that can, or leave --ring-dump out")]
    Dump {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Exit code: 3 where the kernel or its permissions are in the way, 1 else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotPermitted { .. }
            | Self::PidNamespace
            | Self::NoBtf(_)
            | Self::BtfUnreadable
            | Self::NoField { .. }
            | Self::NoFentry(_)
            | Self::Hook { .. } => 3,
            Self::NoProcess(_)
            | Self::KernelThread(_)
            | Self::Vanished(_)
            | Self::NoServer { .. }
            | Self::OtherClient { .. }
            | Self::Bits32(_)
            | Self::NobodyListens(_)
            | Self::Ambiguous { .. }
            | Self::NoMta(_)
            | Self::UnknownMta(..)
            | Self::TooManyFilters(..)
            | Self::Abi { .. }
            | Self::Object(_)
            | Self::Dump { .. } => 1,
        }
    }
}
