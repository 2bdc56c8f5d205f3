//! What of BPF exists in the kernel: what a tracer holds, what is left of it, how full its tables are.
//!
//! In comes a tracer's process, out come ids and numbers. What is left is told by ids only (`bpf_ids` says why); the entries of the tables
//! of a tracer that runs are told by `bpftool`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::bpf_ids::{self, Kind};
use crate::stop::Stop;

/// Objects by kind and id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    ids: BTreeSet<(Kind, u32)>,
}

impl Objects {
    /// Those that the descriptors of a process hold.
    pub fn of(pid: u32) -> Result<Self> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).context("list the tracer's descriptors")?;
        // A descriptor that is closed meanwhile is none.
        let texts = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        let ids = texts.filter_map(|text| Kind::ALL.into_iter().find_map(|kind| Some((kind, field(&text, &format!("{}_id:", kind.name()))?))));
        Ok(Self { ids: ids.collect() })
    }

    /// All that the kernel has.
    pub fn all() -> Result<Self> {
        let mut ids = BTreeSet::new();
        for kind in Kind::ALL {
            let own = bpf_ids::all(kind).with_context(|| format!("ask for the ids of BPF objects ({})", kind.name()))?;
            ids.extend(own.into_iter().map(|id| (kind, id)));
        }
        Ok(Self { ids })
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.ids.iter().filter(|(own, _)| *own == kind).count()
    }

    /// Waits until nothing exists that is not in here, so nobody else may load or attach anything meanwhile; gives how long that took.
    pub fn wait_nothing_new(&self, limit: Duration) -> Result<Duration> {
        wait_none(limit, |now| &now.ids - &self.ids)
    }

    /// Waits until none of these exists.
    pub fn wait_gone(&self, limit: Duration) -> Result<Duration> {
        wait_none(limit, |now| &now.ids & &self.ids)
    }

    /// How many entries one of its hash tables has.
    pub fn entries(&self, table: &str) -> Result<usize> {
        let is_it = |object: &Value| object.get("name").and_then(Value::as_str) == Some(table);
        let ids = bpftool(&["map", "show"])?.into_iter().filter(is_it).filter_map(|object| u32::try_from(object.get("id")?.as_u64()?).ok());
        let id = ids.into_iter().find(|id| self.ids.contains(&(Kind::Map, *id))).with_context(|| format!("the tracer has no map {table}"))?;
        Ok(bpftool(&["map", "dump", "id", &id.to_string()])?.len())
    }
}

/// The kernel frees objects some time after their last user is gone, and has no event for it.
fn wait_none(limit: Duration, of: impl Fn(&Objects) -> BTreeSet<(Kind, u32)>) -> Result<Duration> {
    let (began, pause) = (Instant::now(), Stop::new()?);
    loop {
        let left: Vec<String> = of(&Objects::all()?).into_iter().map(|(kind, id)| format!("{} {id}", kind.name())).collect();
        if left.is_empty() {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < limit, "{} objects are left in the kernel: {}", left.len(), left.join(", "));
        pause.pass(Duration::from_millis(10));
    }
}

fn field(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn bpftool(args: &[&str]) -> Result<Vec<Value>> {
    let output = Command::new("bpftool").arg("-j").args(args).stdin(Stdio::null()).output().context("run bpftool")?;
    // Of an object that is freed while it lists, it says so and goes on.
    match serde_json::from_slice(&output.stdout)
        .with_context(|| format!("bpftool {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)))?
    {
        Value::Array(items) => Ok(items),
        other => bail!("bpftool {}: {other}", args.join(" ")),
    }
}
