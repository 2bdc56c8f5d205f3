//! The documents as they are packed: links to what is not in the package (the sources, scenarios, pages for contributors) become plain words.
//!
//! Text in, text out. Not here: which documents are packed.

use std::path::Path;

/// A document without links that would lead nowhere; `is_packed` is asked for each relative target, from the folder of the documents. `page`: where it is
/// itself there (`docs/probe.md`).
pub fn packed(text: &str, page: &Path, is_packed: impl Fn(&Path) -> bool) -> String {
    let folder = page.parent().unwrap_or(Path::new(""));
    let mut new = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        new.push_str(before);
        let parts = link.split_once("](").and_then(|(words, behind)| Some((words, behind.split_once(')')?)));
        let parts = parts.filter(|(words, (target, _))| !words.contains(['[', '\n']) && !target.contains(char::is_whitespace));
        let Some((words, (target, behind))) = parts else {
            new.push('[');
            rest = link;
            continue;
        };
        let is_kept = target.contains("://") || target.starts_with('#') || is_packed(&plain(folder, target));
        let pieces: &[&str] = if is_kept { &["[", words, "](", target, ")"] } else { &[words] };
        new.extend(pieces.iter().copied());
        rest = behind;
    }
    new + rest
}

/// `docs` and `../README.md#use` are `README.md`.
fn plain(folder: &Path, target: &str) -> std::path::PathBuf {
    let file = target.split('#').next().unwrap_or_default();
    let mut path = folder.to_owned();
    for part in file.split('/') {
        match part {
            ".." => _ = path.pop(),
            "." | "" => {}
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_is_not_packed_are_words() {
        let is_packed = |path: &Path| path == Path::new("docs/probe.md") || path == Path::new("README.md");
        let of = |page: &str, text: &str| packed(text, Path::new(page), is_packed);
        assert_eq!(of("README.md", "see [probe](docs/probe.md) and [a](ARCHITECTURE.md)."), "see [probe](docs/probe.md) and a.");
        assert_eq!(
            of("docs/probe.md", "[here](#x), [up](../README.md#use), [fast](../tests/lab/fast.toml)"),
            "[here](#x), [up](../README.md#use), fast"
        );
        assert_eq!(
            of("README.md", "[https](https://example.org/x) [x] [y] (z) pipe:[15->14]"),
            "[https](https://example.org/x) [x] [y] (z) pipe:[15->14]"
        );
    }
}
