//! Lines of at most 80 columns: a time, what, how long, why.
//!
//! In: pieces of text that are escaped already. Out: lines without their ends. A row whose parts do not fit beside each
//! other goes on in the next line. Not here: colours, and what the parts say.

/// Columns of the text views.
pub const WIDTH: usize = 80;
/// Column at which the text of a row begins: `   0.004  `.
pub const TEXT_AT: usize = 10;
/// Columns for the text of a row where the duration stands beside it.
pub const TEXT: usize = 35;
/// Columns of a duration: `   10.010 s`.
const DURATION: usize = 11;
/// The same where nothing stands behind the duration.
pub const TEXT_WIDE: usize = WIDTH - TEXT_AT - DURATION;
/// Column at which the detail begins.
const DETAIL_AT: usize = TEXT_AT + TEXT + DURATION + 2;

/// One thing at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// s since accept.
    pub at_s: Option<f64>,
    /// What.
    pub text: String,
    /// How long, s.
    pub elapsed_s: Option<f64>,
    /// Why, or how it ended.
    pub detail: String,
}

/// The row as lines of at most `limit` columns.
pub fn row(row: &Row, limit: usize) -> Vec<String> {
    let time = row.at_s.map_or_else(|| " ".repeat(TEXT_AT), |at_s| format!("{at_s:8.3}  "));
    let Some(elapsed_s) = row.elapsed_s else {
        return hanging(&time, &row.text, TEXT_AT + 2, limit);
    };
    let duration = format!("{elapsed_s:9.3} s");
    // What is longer than its column has the whole line, with the duration at its end.
    let is_wide = row.detail.is_empty() && columns(&row.text) > TEXT;
    let head = format!("{time}{:<width$}{duration}", row.text, width = if is_wide { limit.saturating_sub(TEXT_AT + DURATION) } else { TEXT });
    let mut lines = if columns(&head) <= limit {
        vec![head]
    } else {
        let mut lines = hanging(&time, &row.text, TEXT_AT + 2, limit);
        lines.push(format!("{:width$}{duration}", "", width = TEXT_AT + TEXT));
        lines
    };
    if row.detail.is_empty() {
        return lines;
    }
    let used = lines.last().map_or(0, |line| columns(line));
    if used + 2 + columns(&row.detail) <= limit {
        if let Some(last) = lines.last_mut() {
            last.push_str("  ");
            last.push_str(&row.detail);
        }
        return lines;
    }
    let at = limit.saturating_sub(columns(&row.detail)).clamp(TEXT_AT + 6, DETAIL_AT);
    lines.extend(hanging(&" ".repeat(at), &row.detail, at, limit));
    lines
}

/// Text behind a label, wrapped at `limit` columns with the next lines under its beginning.
pub fn labelled(indent: usize, label: &str, text: &str, limit: usize) -> Vec<String> {
    let first = format!("{:indent$}{label}", "");
    let hang = columns(&first);
    hanging(&first, text, hang, limit)
}

/// `first` and the words of `text`; further lines begin at column `hang`. A word that is longer than a line is broken.
fn hanging(first: &str, text: &str, hang: usize, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_fresh = true;
    let blank = " ".repeat(hang);
    for word in text.split_inclusive(' ') {
        let width = columns(word.trim_end_matches(' '));
        if !is_fresh && columns(&line) + width > limit && hang + width <= limit {
            lines.push(line.trim_end().to_owned());
            line.clone_from(&blank);
        }
        for c in word.chars() {
            if columns(&line) >= limit && c != ' ' {
                lines.push(line.trim_end().to_owned());
                line.clone_from(&blank);
            }
            line.push(c);
        }
        is_fresh = false;
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// At most `width` columns, the cut marked.
pub fn clip(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(3)).collect();
    out.push_str("...");
    out
}

/// Columns on a terminal, every character counted as one: what is wider is rare in mail protocols.
fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str, detail: &str) -> Vec<String> {
        row(&Row { at_s: Some(0.004), text: text.to_owned(), elapsed_s: Some(10.01), detail: detail.to_owned() }, WIDTH)
    }

    #[test]
    fn what_fits_stands_on_one_line() {
        assert_eq!(
            wait("  dns A example.com @10.99.0.1", "no answer, 2 attempts"),
            ["   0.004    dns A example.com @10.99.0.1        10.010 s  no answer, 2 attempts"]
        );
    }

    #[test]
    fn a_long_text_moves_the_rest() {
        let lines = wait(&format!("  dns PTR {}", "x".repeat(90)), "no answer, 2 attempts");
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| columns(line) <= WIDTH), "{lines:#?}");
        assert!(lines[2].ends_with("10.010 s  no answer, 2 attempts"));
    }

    #[test]
    fn a_long_detail_goes_below() {
        let lines = wait("  dns PTR 1.0.99.10.in-addr.arpa @10.99.0.1", "no answer, 2 attempts");
        assert_eq!(
            lines,
            [
                "   0.004    dns PTR 1.0.99.10.in-addr.arpa @10.99.0.1   10.010 s",
                "                                                          no answer, 2 attempts"
            ]
        );
    }

    #[test]
    fn words_are_wrapped_and_long_ones_broken() {
        let lines = labelled(4, "check: ", &format!("one {} two", "y".repeat(200)), WIDTH);
        assert!(lines.iter().all(|line| columns(line) <= WIDTH));
        assert!(lines.iter().skip(1).all(|line| line.starts_with("           ")));
        assert_eq!(lines.concat().matches('y').count(), 200);
        assert_eq!(labelled(2, "", "", WIDTH), [""]);
    }

    #[test]
    fn clipping_marks_the_cut() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abc...");
        assert_eq!(clip("äöüßäöü", 6), "äöü...");
    }
}
