//! What of BPF exists in the kernel, by id: what a tracer holds, what is left of it, how full its tables are.
//!
//! In comes a tracer's process, out come ids and numbers, as `bpftool` tells them (`BPF_*_GET_NEXT_ID`, `BPF_MAP_GET_NEXT_KEY`).

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::stop::Stop;

/// Kinds of objects, as bpftool calls them.
const KINDS: [&str; 3] = ["prog", "map", "link"];

/// What a tracer keeps in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Kind and id.
    ids: BTreeSet<(&'static str, u64)>,
}

impl Objects {
    /// Those that the descriptors of a process hold.
    pub fn of(pid: u32) -> Result<Self> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).context("list the tracer's descriptors")?;
        // A descriptor that is closed meanwhile is none. Of a link its program is told too, so links are looked for first.
        let texts = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        let ids = texts.filter_map(|text| KINDS.into_iter().rev().find_map(|kind| Some((kind, field(&text, &format!("{kind}_id:"))?))));
        Ok(Self { ids: ids.collect() })
    }

    /// All that the kernel has.
    pub fn all() -> Result<Self> {
        let mut ids = BTreeSet::new();
        for kind in KINDS {
            ids.extend(show(kind)?.iter().filter_map(|object| Some((kind, object.get("id")?.as_u64()?))));
        }
        Ok(Self { ids })
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: &str) -> usize {
        self.ids.iter().filter(|(own, _)| *own == kind).count()
    }

    /// Names of its programs and maps, so that others like them are known.
    pub fn names(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for kind in ["prog", "map"] {
            let own =
                show(kind)?.into_iter().filter(|object| object.get("id").and_then(Value::as_u64).is_some_and(|id| self.ids.contains(&(kind, id))));
            names.extend(own.filter_map(|object| Some(object.get("name")?.as_str()?.to_owned())));
        }
        Ok(names)
    }

    /// Waits until of what has one of these names nothing exists that is not in here; links are known by their program.
    pub fn wait_nothing_new(&self, names: &BTreeSet<String>, limit: Duration) -> Result<()> {
        // The kernel frees objects some time after their last user is gone, and has no event for it.
        let (end, pause) = (Instant::now() + limit, Stop::new()?);
        loop {
            let left = self.new_ones(names)?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{} objects are left in the kernel: {}", left.len(), left.join(", "));
            pause.pass(Duration::from_millis(10));
        }
    }

    fn new_ones(&self, names: &BTreeSet<String>) -> Result<Vec<String>> {
        let mut programs = BTreeMap::new();
        let mut left = Vec::new();
        for kind in KINDS {
            for object in show(kind)? {
                let number = |name: &str| object.get(name).and_then(Value::as_u64);
                let Some(id) = number("id") else { continue };
                let own_name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let is_ours = names.contains(&own_name) || number("prog_id").is_some_and(|id| programs.contains_key(&id));
                if !is_ours || self.ids.contains(&(kind, id)) {
                    continue;
                }
                if kind == "prog" {
                    programs.insert(id, own_name.clone());
                }
                left.push(format!("{kind} {id} {own_name}"));
            }
        }
        Ok(left)
    }

    /// How many entries one of its hash tables has.
    pub fn entries(&self, table: &str) -> Result<usize> {
        let is_it = |object: &Value| object.get("name").and_then(Value::as_str) == Some(table);
        let ids = show("map")?.into_iter().filter(is_it).filter_map(|object| object.get("id")?.as_u64());
        let id = ids.into_iter().find(|id| self.ids.contains(&("map", *id))).with_context(|| format!("the tracer has no map {table}"))?;
        Ok(bpftool(&["map", "dump", "id", &id.to_string()])?.len())
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn show(kind: &str) -> Result<Vec<Value>> {
    bpftool(&[kind, "show"])
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
