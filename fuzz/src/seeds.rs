//! Seeds: made of the golden logs when a target starts, so that none lies in the repository.
//!
//! In: `tests/replay`, `tests/replay-handmade`. Out: files `seed-N` in the corpus that libFuzzer was given, before it reads it.

use mta_trace::event::Record;
use mta_trace::log::{Item, Reader};
use std::path::{Path, PathBuf};

/// Writes the seeds of a target into its corpus, if it was given one.
pub fn plant(make: fn() -> Vec<Vec<u8>>) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // A corpus that is being made smaller gets nothing.
    if args.iter().any(|arg| arg == "-merge=1") {
        return;
    }
    let Some(corpus) = args.iter().map(Path::new).find(|path| path.is_dir()) else { return };
    for (number, seed) in make().iter().enumerate() {
        let path = corpus.join(format!("seed-{number}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// The golden logs.
pub fn logs() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
    let mut paths: Vec<PathBuf> = ["replay", "replay-handmade"].iter().flat_map(|folder| files(&tests.join(folder))).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

/// The records of each golden log.
pub fn traces() -> Vec<Vec<Record>> {
    logs().into_iter().map(records).collect()
}

fn records(log: Vec<u8>) -> Vec<Record> {
    let items = Reader::new("seed", Box::new(std::io::Cursor::new(log))).expect("a golden log");
    items.filter_map(|item| if let Ok(Item::Record(record)) = item { Some(*record) } else { None }).collect()
}

/// Each once, the shortest first.
pub fn different(mut seeds: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    seeds.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    seeds.dedup();
    seeds
}
