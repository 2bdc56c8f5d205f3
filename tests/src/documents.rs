//! The commands that README.md, CONTRIBUTING.md, ARCHITECTURE.md and the pages of `docs/` tell people to type.
//!
//! In: the documents. Out: each command line, without its comment, the prompt and `sudo`. Not here: what is run of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// `docs/attach.md`.
    pub document: String,
    /// As it is typed.
    pub line: String,
}

impl Command {
    /// Words of the program's own part of it, if it is a command of this program: behind `ssh HOST`, up to a pipe; what the shell puts in is `4711`.
    pub fn arguments(&self) -> Option<Vec<String>> {
        let line = self.line.strip_prefix("ssh mail ").unwrap_or(&self.line);
        let line = line.strip_prefix("sudo ").unwrap_or(line).strip_prefix("mta-trace")?;
        let mut line = line.split(" | ").next().unwrap_or_default().to_owned();
        while let Some((head, rest)) = line.clone().split_once("\"$(") {
            line = format!("{head}4711{}", rest.split_once(")\"").map_or("", |(_, tail)| tail));
        }
        line.chars().next().is_none_or(char::is_whitespace).then(|| line.split_whitespace().map(str::to_owned).collect())
    }
}

/// The documents, from the root of the tree.
pub fn pages() -> Result<Vec<PathBuf>> {
    let pages = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")).context("read docs")?;
    let mut documents: Vec<PathBuf> = pages.flatten().map(|entry| Path::new("docs").join(entry.file_name())).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(PathBuf::from));
    documents.sort();
    Ok(documents)
}

/// All of them.
pub fn commands() -> Result<Vec<Command>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    for document in pages()? {
        let text = std::fs::read_to_string(root.join(&document)).with_context(|| format!("read {}", document.display()))?;
        // What stands between fences: every second part.
        for block in text.split("```").skip(1).step_by(2) {
            let (language, lines) = block.split_once('\n').unwrap_or_default();
            let typed = lines.lines().filter_map(|line| match language {
                "sh" => Some(line),
                "console" => line.strip_prefix("$ "),
                _ => None,
            });
            let document = document.display().to_string();
            all.extend(typed.filter_map(command).map(|line| Command { document: document.clone(), line }));
        }
    }
    Ok(all)
}

/// Without `sudo` and comment; none: nothing is left.
fn command(line: &str) -> Option<String> {
    let line = line.split("  #").next().unwrap_or_default().trim();
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    (!line.is_empty() && !line.starts_with('#')).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Option<Vec<String>> {
        Command { document: String::new(), line: command(line)? }.arguments()
    }

    #[test]
    fn of_a_line_the_words_of_the_program_are_taken() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
        assert_eq!(arguments("sudo mta-trace attach -p \"$(pgrep -o sendmail)\" -o a.jsonl    # or so"), words("attach -p 4711 -o a.jsonl"));
        assert_eq!(arguments("ssh mail sudo mta-trace attach -o - | mta-trace report -"), words("attach -o -"));
        assert_eq!(arguments("cargo build"), None);
        assert_eq!(arguments("# nothing"), None);
    }
}
