//! Logs that are none, cut or damaged.

use crate::{
    program::mta_trace,
    world::{folder, lab, path_text, traced},
};
use std::fs;

tests! {
    root: a_report_is_not_written_over_a_file, logs_that_are_cut_or_damaged_anywhere;
    anyone: logs_that_are_none
}

fn logs_that_are_none() {
    let dir = folder("no-logs");
    let random: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd][..], &random].concat();
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "is empty; record a log with mta-trace attach -o"),
        ("blank", b"\n\n\n", "no log of mta-trace"),
        ("random", &random, "no log of mta-trace"),
        ("random-zstd", &zstd, "cannot be read"),
        ("text", b"Nov 24 18:00:00 mx sm-mta[1]: x\n", "no log of mta-trace"),
        ("json", b"{\"a\":1}\n", "no log of mta-trace"),
        ("no-header", b"{\"k\":\"end\",\"t\":1,\"reason\":\"signal\"}\n", "does not begin with a header"),
        ("newer", b"{\"k\":\"header\",\"schema\":\"mta-trace.log/2\"}\n", "has the format mta-trace.log/2, this version reads mta-trace.log/1"),
        ("hostile", b"{\"k\":\"header\",\"schema\":\"\\u001b[31m\"}\n", "has the format \\x1b[31m"),
    ];
    for (name, bytes, part) in cases {
        let path = dir.join(name);
        fs::write(&path, bytes).unwrap();
        mta_trace(&["report", &path_text(&path)]).is_refused(1, &[part]);
    }
    mta_trace(&["report", &path_text(&dir.join("missing"))]).is_refused(1, &["missing: cannot be opened"]);
    mta_trace(&["report", &path_text(&dir)]).is_refused(1, &["cannot be read"]);
}

fn a_report_is_not_written_over_a_file() {
    let lab = lab("report-file");
    let log = traced(&lab);
    let there = lab.dir().join("there");
    fs::write(&there, "mine").unwrap();
    mta_trace(&["report", &path_text(&log), "-o", &path_text(&there)]).is_refused(1, &["exists already"]);
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
}

fn logs_that_are_cut_or_damaged_anywhere() {
    let lab = lab("cut-logs");
    let whole = fs::read(traced(&lab)).unwrap();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let path = lab.dir().join("damaged.jsonl");
    // Cut behind the header, at 40 places, and each time a report comes of what is there.
    for part in 1..=40 {
        fs::write(&path, &whole[..header + (whole.len() - header) * part / 41]).unwrap();
        let ended = mta_trace(&["report", &path_text(&path)]);
        assert!(ended.is_done().stderr.is_empty(), "{}", ended.stderr);
        assert!(ended.out().contains("the log has no end"), "{}", ended.out());
    }
    // Cut inside the header: no log.
    fs::write(&path, &whole[..header / 2]).unwrap();
    mta_trace(&["report", &path_text(&path)]).is_refused(1, &["no log of mta-trace"]);
    // Bytes turned over behind the header.
    let mut seed = 1_u32;
    for _ in 0..40 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = header + usize::try_from(seed >> 8).unwrap() % (bytes.len() - header);
            bytes[at] = seed.to_le_bytes()[3];
        }
        fs::write(&path, &bytes).unwrap();
        for format in ["text", "json"] {
            let ended = mta_trace(&["report", &path_text(&path), "--format", format]);
            assert!(!ended.stderr.contains("panicked") && ended.status.code() == Some(0), "{}", ended.stderr);
            assert!(!ended.out().contains('\u{1b}'));
        }
    }
}
