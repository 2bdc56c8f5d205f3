//! What is said to whoever gives wrong arguments: what happened, to which object, what to do next. Needs no root.
//!
//! `tests/wrong.txt` holds command lines and what is printed; with `BLESS=1` it is written anew: look at what changed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn said(line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mta-trace"));
    let output = command.args(line.split(' ')).stdin(Stdio::null()).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output();
    let output = output.expect("the program starts");
    assert!(output.stdout.is_empty(), "{line}: prints {}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    format!("$ mta-trace {line}\n{text}[{}]\n", output.status.code().expect("it exits"))
}

#[test]
fn wrong_invocations_are_answered() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong.txt");
    let kept = std::fs::read_to_string(&place).expect("tests/wrong.txt");
    let lines: Vec<&str> = kept.lines().filter_map(|line| line.strip_prefix("$ mta-trace ")).collect();
    assert!(lines.len() >= 10, "only {} command lines", lines.len());
    let now = lines.iter().fold(String::new(), |mut text, line| {
        let gap = if text.is_empty() { "" } else { "\n" };
        write!(text, "{gap}{}", said(line)).expect("memory");
        text
    });
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&place, &now).expect("written");
    }
    let kept = std::fs::read_to_string(&place).expect("tests/wrong.txt");
    assert!(now == kept, "tests/wrong.txt is another; with BLESS=1 it becomes\n{now}");
}
