//! A scenario: the MTA's settings, the faults, the dialogue, and what the tracer is expected to say.
//!
//! In comes a TOML file, out go these plain structures; unknown keys are errors. Not here: how any of it is done.

mod client;
mod expect;
mod fault;
mod mta;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

pub use client::*;
pub use expect::*;
pub use fault::*;
pub use mta::*;

/// A whole scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its suffix.
    #[serde(skip)]
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What `--client` of the tracer is given.
    #[serde(default = "default_client")]
    pub client: String,
    /// When the whole run counts as hung.
    #[serde(default = "default_limit")]
    pub time_limit_s: u64,
    /// Whether processes are looked at for which the session waits; not where those are the lab's own threads.
    #[serde(default = "default_chains")]
    pub chains: bool,
    /// Which MTA.
    pub mta: MtaKind,
    /// sendmail's settings.
    pub sendmail: Sendmail,
    /// Postfix's settings.
    pub postfix: Postfix,
    /// Exim's settings.
    pub exim: Exim,
    /// OpenSMTPD's settings.
    pub opensmtpd: OpenSmtpd,
    /// aiosmtpd's settings.
    pub aiosmtpd: Aiosmtpd,
    /// The name servers.
    pub dns: Dns,
    /// The ident server on the client.
    pub ident: Ident,
    /// The milter, if any.
    pub milter: Option<Milter>,
    /// The saslauthd, if any.
    pub saslauthd: Option<Saslauthd>,
    /// The slow disk on which the spool lies, if any; otherwise it lies in memory.
    pub disk: Option<Disk>,
    /// What the next hop does, which is also asked whether an address exists.
    pub sink: Sink,
    /// The slow local mailer, if any.
    pub mailer: Option<Mailer>,
    /// The server of a socket map, if any.
    pub socket_map: Option<SocketMap>,
    /// spamd, if any.
    pub spamd: Option<Spamd>,
    /// The policy service, if any.
    pub policy: Option<Policy>,
    /// Other services that answer late.
    pub late: Vec<Late>,
    /// A second client that talks first, from another address; its session must not be reported.
    pub other_client: Option<OtherClient>,
    /// What the client does.
    pub dialogue: Vec<Step>,
    /// What the report must say.
    pub expect: Expect,
}

fn default_client() -> String {
    "10.99.0.1".to_owned()
}

fn default_chains() -> bool {
    true
}

fn default_limit() -> u64 {
    90
}

impl Scenario {
    /// Reads one file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let mut scenario: Self = toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        scenario.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        scenario.expect.own_s = scenario.mta.own_s();
        Ok(scenario)
    }

    /// Reads the scenario of this name from `tests/lab`.
    pub fn named(name: &str) -> Result<Self> {
        Self::load(&scenario_dir().join(format!("{name}.toml")))
    }

    /// Reads all of `tests/lab`, in order of name.
    pub fn all() -> Result<Vec<Self>> {
        let dir = scenario_dir();
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::load(path)).collect()
    }
}

/// Where the scenarios are.
pub fn scenario_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab")
}
