//! `share/`: man pages and completions, made from the definition of the command line, are what the definition gives.
//!
//! `cargo xtask share` (this test with `BLESS=1`) writes them anew. The completions are asked in a real bash too.

use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANUAL: &str = "mta-trace manual";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("share")
}

/// Path below `share/`, and the text.
fn made() -> BTreeMap<String, Vec<u8>> {
    let mut command = mta_trace::cli::command();
    let mut made = BTreeMap::new();
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions/mta-trace"),
        (Shell::Zsh, "zsh/site-functions/_mta-trace"),
        (Shell::Fish, "fish/vendor_completions.d/mta-trace.fish"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "mta-trace", &mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        made.insert(path.to_owned(), if shell == Shell::Bash { mended(&text) } else { text }.into_bytes());
    }
    command = mta_trace::cli::command().disable_help_subcommand(true);
    command.build();
    let others: Vec<String> = command.get_subcommands().map(|sub| format!("mta-trace-{}", sub.get_name())).collect();
    made.insert("man/man1/mta-trace.1".to_owned(), page(&command, &others));
    for sub in command.get_subcommands() {
        made.insert(format!("man/man1/mta-trace-{}.1", sub.get_name()), page(sub, &["mta-trace".to_owned()]));
    }
    made
}

/// `clap_complete` 4.6.11 looks for the functions of subcommands under another name than it gives them if the program's own name has a hyphen, so that
/// nothing is offered behind a subcommand (`bash_completes` sees it); and it offers hidden options.
fn mended(text: &str) -> String {
    text.replace("mta__subcmd__trace", "mta__trace").replace(" --ring-dump ", " ")
}

/// A page: what `clap_mangen` makes of the definition, and the text behind the help under the headings that man pages have.
fn page(command: &clap::Command, see_also: &[String]) -> Vec<u8> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let source = concat!("mta-trace ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone());
    // The date is left empty, so that a page changes only where the definition does; clap_mangen would leave it out, and the rest would move up.
    let mut text = Vec::new();
    text.extend(format!(".TH {} 1 \"\" \"{source}\" \"{MANUAL}\"\n", name.to_uppercase()).into_bytes());
    man.render_name_section(&mut text).expect("memory");
    man.render_synopsis_section(&mut text).expect("memory");
    man.render_description_section(&mut text).expect("memory");
    man.render_options_section(&mut text).expect("memory");
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text).expect("memory");
    }
    let mut behind = Roff::new();
    let help = command.get_after_long_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
    let behind_help = help.strip_prefix("Examples:\n").unwrap_or_else(|| panic!("{name}: {help}"));
    let (examples, notes) = behind_help.split_once("\n\n").unwrap_or((behind_help, ""));
    behind.control("SH", ["EXAMPLES"]);
    behind.control("nf", []);
    for line in examples.lines() {
        behind.text([roman(line)]);
    }
    behind.control("fi", []);
    let (notes, codes) = notes.split_once("Exit codes: ").unwrap_or((notes, "0 done, 1 failed, 2 wrong usage, 3 not permitted or kernel not able."));
    if !notes.is_empty() {
        behind.control("SH", ["NOTES"]);
        behind.text([roman(notes.trim())]);
    }
    behind.control("SH", ["EXIT STATUS"]);
    behind.text([roman(codes.trim())]);
    behind.control("SH", ["SEE ALSO"]);
    let last = see_also.len().saturating_sub(1);
    for (n, page) in see_also.iter().enumerate() {
        behind.control("BR", [page.as_str(), if n == last { "(1)" } else { "(1)," }]);
    }
    behind.to_writer(&mut text).expect("memory");
    text
}

#[test]
fn man_pages_and_completions_are_what_the_definition_gives() {
    let made = made();
    if std::env::var_os("BLESS").is_some() {
        for (path, text) in &made {
            let path = folder().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
    }
    for (path, text) in &made {
        let kept = std::fs::read(folder().join(path)).unwrap_or_default();
        assert!(kept == *text, "share/{path} is not what the definition gives: `cargo xtask share` makes it anew");
    }
    let mut kept = Vec::new();
    files(&folder(), &mut kept);
    let strange: Vec<&PathBuf> = kept.iter().filter(|path| !made.keys().any(|known| path.ends_with(known))).collect();
    assert!(strange.is_empty(), "nothing makes {strange:?}: remove them");
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn examples_fit_into_a_terminal() {
    let command = mta_trace::cli::command();
    for command in command.get_subcommands().chain([&command]) {
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  "), "{}: {help}", command.get_name());
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{}: {help}", command.get_name());
    }
}

#[test]
fn every_page_has_what_is_looked_for() {
    for (path, text) in made().into_iter().filter(|(path, _)| path.starts_with("man/")) {
        let text = String::from_utf8(text).expect("UTF-8");
        let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|it| it.trim_matches('"')).collect();
        for wanted in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
            assert!(sections.contains(&wanted), "{path}: no {wanted} in {sections:?}");
        }
    }
}

/// What bash offers behind these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mta__trace mta-trace "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let source = folder().join("bash-completion/completions/mta-trace");
    let output = Command::new("bash").args(["--norc", "-c", script, "bash"]).arg(source).args(words).output().expect("bash runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    let offered = completed(&["mta-trace", "att"]);
    assert_eq!(offered, ["attach"]);
    assert_eq!(completed(&["mta-trace", "attach", "--slo"]), ["--slower-than"]);
    assert_eq!(completed(&["mta-trace", "attach", "--view", "st"]), ["strace"]);
    assert!(completed(&["mta-trace", "attach", "--"]).iter().all(|it| it != "--ring-dump"), "hidden options are not offered");
    let every = completed(&["mta-trace", ""]);
    for sub in mta_trace::cli::command().get_subcommands() {
        assert!(every.iter().any(|it| it == sub.get_name()), "{}: {every:?}", sub.get_name());
    }
}
