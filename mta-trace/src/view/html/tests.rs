//! The whole page: hostile text in every field, sizes, what must stand where.

use super::*;
use crate::analysis::{Analysis, Told, replay};
use crate::view::{escape::is_hostile, samples};
use serde_json::Value;

/// What a hostile client, name server or file name may try, in one text.
const EVIL: &str = "x</script><script>pwned()</script><!--<img src=x onerror=pwned()>]]>\"'` onload=pwned() javascript:pwned() &amp;{{7*7}}\u{2028}\u{2029}\u{202e}\u{1b}]0;t\u{7}\r\n\t\u{0}\u{feff}";

fn page(report: &Report) -> String {
    page_with(report, &Calls::default())
}

fn page_with(report: &Report, calls: &Calls) -> String {
    let mut out = Vec::new();
    write(&mut out, report, &Accepted::default(), calls).expect("memory takes everything");
    String::from_utf8(out).expect("a page is UTF-8")
}

/// Every optional structure there, so that every field has a value.
fn full() -> Report {
    let path = format!("{}/../tests/replay/postfix-milter-opendkim.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut report = analyse(&path).0;
    let session = report.sessions.first_mut().expect("a session");
    session.probe = Some(Box::new(probe()));
    session.between = session.commands.iter().flat_map(|command| command.waits.clone()).take(1).collect();
    session.between.extend(samples::slow_session().commands.into_iter().flat_map(|command| command.waits));
    report.daemon = Some(serde_json::from_value(DAEMON.parse().expect("JSON")).expect("a daemon"));
    report.findings = vec![serde_json::from_value(COMMON.parse().expect("JSON")).expect("a finding")];
    report.probe = Some(probe());
    report
}

const DAEMON: &str = r#"{"pid": 1, "listen_overflows": 1, "listen_drops": 1, "states": [{"state": "x", "started": "x", "elapsed_s": 1}],
    "findings": [{"rule": "x", "severity": "low", "elapsed_s": 1, "summary": "x", "evidence": "x", "remedy": "x", "check": "x"}]}"#;

const COMMON: &str = r#"{"rule": "x", "severity": "high", "verb": "MAIL", "cause": "dns", "target": "x", "sessions": 2, "of": 3, "median_s": 1, "p95_s": 1,
    "max_s": 1, "total_s": 2, "summary": "x", "evidence": "x", "remedy": "y", "check": "y"}"#;

fn probe() -> crate::report::Probe {
    let text = r#"{"server": "x", "client": "x", "started": "x", "elapsed_s": 1, "connect_s": 1, "tls": {"version": "x", "cipher": "x", "verified": false},
        "exchanges": [{"start_s": 0, "elapsed_s": 1, "commands": [{"verb": "MAIL", "line": "x", "reply_code": 250, "reply": "x", "reply_s": 1}]}],
        "stopped": "x", "notes": ["x"]}"#;
    serde_json::from_str(text).expect("a probe")
}

/// As `mta-trace report --format html` does.
fn analyse(path: &str) -> (Report, Calls) {
    let mut calls = Calls::default();
    let report = replay(crate::log::read(path).expect("a golden log"), Analysis::new(), |told| {
        match told {
            Told::Record(record) => calls.record(record),
            Told::Update(update) => calls.update(update),
            Told::Unreadable { .. } | Told::Cut { .. } => {}
        }
        Ok::<_, crate::log::Error>(())
    });
    (report.expect("a golden log"), calls)
}

/// Puts a text into every string of a report that is not one of a vocabulary, and counts them.
fn poison(value: &mut Value, evil: &str) -> usize {
    const VOCABULARY: &[&str] = &["verb", "cause", "outcome", "severity", "end", "began", "boundary"];
    match value {
        Value::String(text) => {
            evil.clone_into(text);
            1
        }
        Value::Array(all) => all.iter_mut().map(|it| poison(it, evil)).sum(),
        Value::Object(fields) => fields.iter_mut().filter(|(name, _)| !VOCABULARY.contains(&name.as_str())).map(|(_, it)| poison(it, evil)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Tags of a page in their order, each as far as its first blank; what stands in style and script is none.
fn tags(page: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let from = rest.split_at(at + 1).1;
        let name = from.split(|c: char| c == '>' || c.is_whitespace()).next().unwrap_or_default();
        tags.push(name);
        rest = match name {
            "style" | "script" => from.split_once(&format!("</{name}")).map_or("", |(_, after)| after),
            _ => from,
        };
    }
    tags
}

#[test]
fn hostile_text_in_every_field_is_only_text() {
    let plain = full();
    let mut json = serde_json::to_value(&plain).expect("a report is JSON");
    let poisoned = poison(&mut json, EVIL);
    assert!(poisoned > 100, "{poisoned} strings");
    let evil: Report = serde_json::from_value(json).expect("still a report");
    for many in [false, true] {
        let (mut plain, mut evil) = (plain.clone(), evil.clone());
        if many {
            plain.sessions.push(plain.sessions[0].clone());
            evil.sessions.push(evil.sessions[0].clone());
        }
        let page = page(&evil);
        assert!(page.contains("pwned"), "the texts are shown");
        let hostile = page.chars().find(|c| *c != '\n' && is_hostile(*c));
        assert_eq!(hostile, None, "nothing that deceives a reader");
        let plain = self::page(&plain);
        let allowed = tags(&plain).into_iter().collect::<std::collections::BTreeSet<_>>();
        let strange: Vec<&str> = tags(&page).into_iter().filter(|tag| !allowed.contains(tag)).collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert_eq!(page.matches("<script").count(), 1 + SCRIPT.matches("<script").count());
        // The script and the style are the page's own, to the byte: the policy has their hashes.
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")) && page.contains(&format!("<style>{STYLE}</style>")));
        for attribute in ["onload=", "onerror="] {
            let inside_tags =
                page.split('<').filter(|part| part.split('>').next().is_some_and(|tag| tag.contains(attribute) && !tag.contains("&#34;")));
            assert_eq!(inside_tags.count(), 0, "{attribute}");
        }
    }
}

#[test]
fn every_text_of_a_report_is_somewhere_on_the_page() {
    let mut json = serde_json::to_value(full()).expect("a report is JSON");
    let mut number = 0;
    let mut name = |value: &mut Value| {
        number += 1;
        *value = Value::String(format!("text{number}end"));
    };
    // Of a session all that is not shown in words of its own.
    for (pointer, field) in [
        ("/sessions/0/commands/8/waits/0/peer", "comm"),
        ("/sessions/0/commands/8/waits/0/inner/0/peer", "comm"),
        ("/sessions/0/findings/0", "remedy"),
    ] {
        if let Some(Value::Object(object)) = json.pointer_mut(pointer) {
            object.get_mut(field).into_iter().for_each(&mut name);
        }
    }
    let session = json.pointer_mut("/sessions/0").and_then(Value::as_object_mut).expect("a session");
    for field in ["id", "mta", "mta_version", "client", "server", "started"] {
        session.get_mut(field).into_iter().for_each(&mut name);
    }
    let page = page(&serde_json::from_value(json).expect("still a report"));
    let lacking: Vec<String> = (1..=number).map(|n| format!("text{n}end")).filter(|text| !page.contains(text)).collect();
    assert!(lacking.is_empty() && number > 6, "{lacking:?} of {number}");
}

#[test]
fn the_policy_names_style_and_script() {
    let hash = |text: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        format!("sha256-{}", STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes())))
    };
    // Whoever changes page.css or page.js writes this into head.rs.
    assert_eq!((head::STYLE_HASH, head::SCRIPT_HASH), (hash(STYLE).as_str(), hash(SCRIPT).as_str()));
}

/// `|safe` switches the escaping off: only what is the page's own may have it.
#[test]
fn nothing_of_a_report_is_called_safe() {
    let folder = format!("{}/src/view/html", env!("CARGO_MANIFEST_DIR"));
    let mut templates = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ext| ext == "html") {
            templates += 1;
            let text = std::fs::read_to_string(&path).expect("a template");
            let safe: Vec<&str> = text.match_indices("|safe").map(|(at, _)| text[..at].rsplit("{{ ").next().unwrap_or_default()).collect();
            assert!(safe.iter().all(|it| ["style", "script", "style_hash", "script_hash"].contains(it)), "{}: {safe:?}", path.display());
            let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!text.contains("style=") && !text.split_whitespace().any(is_handler), "{}: the policy forbids it", path.display());
        }
    }
    assert!(templates > 8);
}

#[test]
fn golden_logs_of_all_kinds_become_pages_of_bounded_size() {
    let folder = format!("{}/../tests/replay", env!("CARGO_MANIFEST_DIR"));
    let mut pages = 0;
    for entry in std::fs::read_dir(folder).expect("the golden logs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ext| ext != "jsonl") {
            continue;
        }
        let (report, calls) = analyse(path.to_str().expect("a path"));
        let page = page_with(&report, &calls);
        assert!(page.len() < 300_000, "{}: {} bytes", path.display(), page.len());
        for session in &report.sessions {
            assert!(page.contains(&session.id) && page.contains("System calls</h"), "{}", path.display());
        }
        for id in page.split("href=\"#").skip(1).filter_map(|part| part.split('"').next()) {
            assert!(page.contains(&format!(" id=\"{id}\"")), "{}: no {id}", path.display());
        }
        let open = tags(&page);
        for tag in ["table", "tr", "td", "th", "section", "details", "dl", "div", "svg", "a", "ul", "ol", "li", "article", "span"] {
            let end = format!("/{tag}");
            let count = |name: &str| open.iter().filter(|it| **it == name).count();
            assert_eq!(count(tag), count(&end), "{}: {tag}", path.display());
        }
        pages += 1;
    }
    assert!(pages > 90, "{pages}");
}

#[test]
fn thousands_of_sessions_and_commands_have_a_bound() {
    let mut session = samples::slow_session();
    let one = session.commands[2].clone();
    session.commands = (0..10_000).map(|index| Command { index, ..one.clone() }).collect();
    let long = page(&samples::report(vec![session]));
    assert!(long.len() < 2_000_000 && long.contains("Of 10000 commands the 500 slowest are shown"), "{}", long.len());
    let mut report = samples::report((0..1000).map(|_| samples::slow_session()).collect());
    report.left_out = Some(crate::report::LeftOut { sessions: 2000, server_s: 60_000.0, waits: Vec::new() });
    let many = page(&report);
    assert!(many.len() < 3_000_000, "{}", many.len());
    assert!(many.contains("Of 3000 sessions the worst 1000 are listed") && many.contains("The 50 slowest are shown whole"));
    assert_eq!(many.matches("<details class=\"session\"").count(), SESSIONS);
}

#[test]
fn what_is_missing_stands_before_everything_else() {
    let mut report = samples::report(vec![samples::slow_session()]);
    report.log.lost = 3;
    let page = page(&report);
    let (lost, headline) = (page.find("3 events were LOST"), page.find("<h1>"));
    assert!(lost.is_some() && lost < headline);
}
