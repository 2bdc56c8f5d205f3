//! What every `{{ }}` of the templates goes through (`askama.toml`): text that neither a browser obeys nor a reader is deceived by.
//!
//! In: any text. Out: the same with what a terminal would obey shown as an escape, as in the other views, and `<`, `>`, `&` and both quotes as
//! character references, so that it is safe between tags and in quoted attributes. Not here: anything in a script or a style; nothing is written there.

use crate::view::escape::escape;
use askama::filters::{Escaper, Html};
use std::fmt::{Result, Write};

/// Escapes for people and for browsers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Harmless;

impl Escaper for Harmless {
    fn write_escaped_str<W: Write>(&self, dest: W, string: &str) -> Result {
        Html.write_escaped_str(dest, &escape(string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::escape::is_hostile;
    use proptest::prelude::*;

    fn harmless(text: &str) -> String {
        let mut out = String::new();
        Harmless.write_escaped_str(&mut out, text).expect("in a test");
        out
    }

    #[test]
    fn neither_markup_nor_control_characters() {
        assert_eq!(harmless("</script><!--\u{2028}\u{202e}\n"), "&#60;/script&#62;&#60;!--\\u{2028}\\u{202e}\\n");
        assert_eq!(harmless(r#"" onload='x' &amp;"#), "&#34; onload=&#39;x&#39; &#38;amp;");
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_ends_text_or_attribute(text in any::<String>()) {
            let out = harmless(&text);
            prop_assert!(!out.contains(['<', '>', '"', '\'']) && !out.chars().any(is_hostile), "{out:?}");
        }
    }
}
