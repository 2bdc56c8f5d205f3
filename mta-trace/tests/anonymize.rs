//! `export --anonymize` over all golden logs: the same report with other names, and nothing of the old ones anywhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use mta_trace::analysis::{Analysis, replay};
use mta_trace::event::Record;
use mta_trace::export::anonymize::Anonymizer;
use mta_trace::log::{self, Item, Reader};
use mta_trace::report::Report;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Fields of the report in which a name or an address stands by itself, not in a sentence.
const STRUCTURED: &[&str] = &["client", "server", "line", "reply", "target", "qname", "zone", "address", "descriptor", "path", "comm", "state"];

fn logs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(folder);
    let entries = std::fs::read_dir(folder).expect("golden logs").map(|entry| entry.expect("entry").path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    logs.sort();
    assert!(!logs.is_empty());
    logs
}

fn items(text: Vec<u8>) -> Vec<Item> {
    Reader::new("log", Box::new(Cursor::new(text))).expect("a log").map(|item| item.expect("item")).collect()
}

fn analyse(items: &[Item]) -> Report {
    let records = items.iter().filter(|item| matches!(item, Item::Record(_)));
    replay(records.cloned().map(Ok), Analysis::new(), |_| Ok::<_, log::Error>(())).expect("items in memory are always there to be read")
}

fn anonymized(items: &[Item]) -> Vec<u8> {
    let mut anonymizer = Anonymizer::default();
    let mut text = Vec::new();
    for item in items {
        if let Item::Record(record) = item {
            log::encode_into(&mut text, &anonymizer.record(record));
        }
    }
    text
}

/// Goes through two reports side by side: numbers must be the same, names of a field must be told one by one.
fn pair(at: &str, old: &Value, new: &Value, names: &mut BTreeMap<String, String>, sentences: &mut Vec<(String, String)>) -> Result<(), String> {
    let differs = || Err(format!("{at}: {old} became {new}"));
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if old.keys().eq(new.keys()) => {
            for ((key, old), (_, new)) in old.iter().zip(new) {
                pair(key, old, new, names, sentences)?;
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (old, new) in old.iter().zip(new) {
                pair(at, old, new, names, sentences)?;
            }
        }
        (Value::String(old), Value::String(new)) if STRUCTURED.contains(&at) => {
            if let Some(before) = names.insert(old.clone(), new.clone()).filter(|before| before != new) {
                return Err(format!("{at}: {old} became {before} and {new}"));
            }
        }
        (Value::String(old), Value::String(new)) => sentences.push((old.clone(), new.clone())),
        _ if old == new => {}
        _ => return differs(),
    }
    Ok(())
}

/// Search lists, which reports name in sentences alone, and values of settings.
fn words_of_files(items: &[Item]) -> Vec<String> {
    let mut all = Vec::new();
    for item in items {
        match item {
            Item::Record(record) => match &**record {
                Record::SeedFile(file) => all.extend(file.text.split_whitespace().map(str::to_owned)),
                Record::SeedSettings(file) => {
                    all.extend(file.settings.iter().filter_map(|setting| setting.value.clone()).filter(|value| value.contains(':')));
                }
                _ => {}
            },
            Item::Unreadable { .. } | Item::Unknown { .. } | Item::Cut { .. } => {}
        }
    }
    all
}

/// The parts of what stands in a field: an address without its port, a name without brackets.
fn parts(text: &str) -> Vec<String> {
    let separators = |c: char| c.is_whitespace() || "<>()[],;\"'=@".contains(c);
    let mut all: Vec<String> = vec![text.to_owned()];
    all.extend(text.split(separators).map(|part| part.trim_end_matches(['.', ':']).to_owned()));
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        all.push(address.ip().to_string());
    }
    all
}

/// Replaces what is longest first, at each place once.
fn rename(text: &str, names: &[(String, String)]) -> String {
    let mut new = String::new();
    let mut rest = text;
    'next: while let Some(first) = rest.chars().next() {
        // Not in the middle of a word or number.
        let is_start = new.is_empty() || !text[..text.len() - rest.len()].ends_with(|c: char| c.is_alphanumeric());
        for (old, name) in names.iter().filter(|_| is_start) {
            if let Some(behind) = rest.strip_prefix(old.as_str()) {
                new.push_str(name);
                rest = behind;
                continue 'next;
            }
        }
        new.push(first);
        rest = &rest[first.len_utf8()..];
    }
    new
}

#[test]
fn the_report_is_the_same_with_other_names() {
    let mut problems = Vec::new();
    for path in [logs("replay"), logs("replay-handmade")].concat() {
        let old = items(std::fs::read(&path).expect("log"));
        let new = items(anonymized(&old));
        let files = [&old, &new].map(|items| words_of_files(items));
        let (old, new) = (analyse(&old), analyse(&new));
        let values = [&old, &new].map(|report| serde_json::to_value(report).expect("JSON"));
        let (mut names, mut sentences) = (BTreeMap::new(), Vec::new());
        if let Err(problem) = pair("", &values[0], &values[1], &mut names, &mut sentences) {
            problems.push(format!("{}: {problem}", path.display()));
            continue;
        }
        // No two are one afterwards.
        let different: BTreeSet<&String> = names.values().collect();
        if different.len() != names.len() {
            problems.push(format!("{}: two names became one: {names:?}", path.display()));
        }
        let mut all = BTreeMap::new();
        for (old, new) in &names {
            let (old, new) = (parts(old), parts(new));
            // A local part that every sentence has.
            all.extend(old.into_iter().zip(new).filter(|(old, _)| old.len() > 1 && old != "mail"));
        }
        let [old, new] = files;
        assert_eq!(old.len(), new.len(), "{}", path.display());
        all.extend(old.into_iter().zip(new));
        let mut all: Vec<(String, String)> = all.into_iter().collect();
        all.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        for (old, new) in sentences {
            let renamed = rename(&old, &all);
            if renamed != new {
                problems.push(format!("{}:\n  {old}\n  {renamed}\n  {new}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What must not be found: addresses in all their forms, names, local parts.
fn secrets(items: &[Item]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in items {
        let Item::Record(record) = item else { continue };
        let line = log::encode(record);
        let value: Value = serde_json::from_str(&line).expect("JSON");
        strings(&value, &mut |text| {
            let bytes = STANDARD.decode(text).unwrap_or_default();
            for text in [text.to_owned(), String::from_utf8_lossy(&bytes).into_owned(), dotted(&bytes)] {
                names_in(&text, &mut found);
            }
        });
    }
    found
}

/// Names on the wire with dots between their labels.
fn dotted(bytes: &[u8]) -> String {
    let Some(body) = bytes.get(12..) else { return String::new() };
    body.iter().map(|byte| if (1..40).contains(byte) { '.' } else { char::from(*byte) }).collect()
}

fn strings(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(all) => all.iter().for_each(|value| strings(value, take)),
        Value::Object(all) => all.values().for_each(|value| strings(value, take)),
        _ => {}
    }
}

fn names_in(text: &str, found: &mut BTreeSet<String>) {
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && !".-_:@[]".contains(c)) {
        for address in [word, word.trim_matches(['[', ']'])].into_iter().filter_map(address_of) {
            found.extend(forms(address));
        }
        if let Some((local, domain)) = word.rsplit_once('@') {
            // A domain of one label may be a word that every server says.
            found.extend([local, domain].map(str::to_ascii_lowercase).into_iter().filter(|name| name.len() > 3 && *name != "mail"));
        }
        let host = word.trim_matches('.');
        let is_host = host.split('.').count() > 1
            && host.split('.').all(|label| !label.is_empty() && !label.starts_with('_'))
            && ["test", "com", "org", "net"].iter().any(|top| host.ends_with(&format!(".{top}")));
        if is_host {
            found.insert(host.to_ascii_lowercase());
        }
    }
}

fn address_of(text: &str) -> Option<std::net::IpAddr> {
    let address = text.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))?;
    // A version of sendmail is none.
    (!address.is_loopback() && !address.is_unspecified() && !text.starts_with("8.17.")).then_some(address)
}

fn forms(address: std::net::IpAddr) -> Vec<String> {
    match address {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            vec![v4.to_string(), format!("{d}.{c}.{b}.{a}"), format!("{a:02x}{b:02x}{c:02x}{d:02x}"), format!("{a}-{b}-{c}-{d}")]
        }
        std::net::IpAddr::V6(v6) => {
            let digits = hexadecimal(&v6.octets());
            let reversed: Vec<String> = digits.chars().rev().map(String::from).collect();
            vec![v6.to_string(), digits, reversed.join(".")]
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

#[test]
fn nothing_of_the_old_names_is_left() {
    let mut problems = Vec::new();
    let mut count = 0;
    for path in [logs("replay"), logs("replay-handmade")].concat() {
        let old = items(std::fs::read(&path).expect("log"));
        let new = anonymized(&old);
        let secrets = secrets(&old);
        count += secrets.len();
        let mut haystack = String::from_utf8(new.clone()).expect("JSON").to_ascii_lowercase();
        for item in items(new) {
            let Item::Record(record) = item else { continue };
            strings(&serde_json::from_str(&log::encode(&record)).expect("JSON"), &mut |text| {
                let bytes = STANDARD.decode(text).unwrap_or_default();
                // As text, as names on the wire, as hexadecimal digits.
                let hexadecimal = hexadecimal(&bytes);
                let forms = [String::from_utf8_lossy(&bytes).to_ascii_lowercase(), dotted(&bytes).to_ascii_lowercase(), hexadecimal];
                haystack.push_str(&forms.join("\n"));
            });
        }
        for secret in &secrets {
            if let Some(at) = haystack.find(secret.as_str()) {
                let around: String = haystack.get(at.saturating_sub(60)..).unwrap_or_default().chars().take(140).collect();
                problems.push(format!("{}: {secret}: {around}", path.display()));
            }
        }
    }
    assert!(count > 500, "only {count} names and addresses were looked for");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The test above finds what it looks for: in the log itself.
#[test]
fn the_old_names_are_known() {
    let items = items(std::fs::read(logs("replay").into_iter().find(|path| path.ends_with("the-case.jsonl")).expect("log")).expect("log"));
    let secrets = secrets(&items);
    for expected in ["10.99.0.1", "1.0.99.10", "mx.lab.test", "example.com", "client.lab.test"] {
        assert!(secrets.contains(expected), "{expected} is not among {secrets:?}");
    }
}
