//! A JSON object to its entries, with the places where they stand.
//!
//! `serde_json` reads the text and says what is wrong with it; what it does not keep is where each key and value is, and
//! that a key stands there twice. So the entries of the outermost object are found by a second walk over text that is
//! known to be sound.

use archc_grammar::{Diagnostic, FileId, Span};
use serde_json::Value;

/// `"key": value` of the outermost object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Value,
    pub value_span: Span,
}

/// The entries in the order of the text.
pub(super) fn entries(text: &str, file: FileId) -> Result<Vec<Entry>, Box<Diagnostic>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(_)) => {}
        Ok(_) => {
            let problem = Diagnostic::error("config/syntax", "a configuration is an object, `{ \"key\": value, .. }`");
            return Err(Box::new(problem.label(Span::new(file, 0, text.len()), "this is none")));
        }
        Err(error) => {
            let at = offset(text, error.line(), error.column());
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            let problem = Diagnostic::error("config/syntax", format!("this is not JSON: {message}"));
            return Err(Box::new(problem.label(Span::new(file, at, at), "here")));
        }
    }
    let mut walk = Walk { text, at: text.find('{').map_or(text.len(), |at| at + 1) };
    let mut entries = vec![];
    while let Some((key, value)) = walk.entry() {
        let slice = |(start, end): (usize, usize)| text.get(start..end).unwrap_or_default();
        let (Ok(name), Ok(parsed)) = (serde_json::from_str(slice(key)), serde_json::from_str(slice(value))) else {
            break;
        };
        let span = |(start, end)| Span::new(file, start, end);
        entries.push(Entry { key: name, key_span: span(key), value: parsed, value_span: span(value) });
    }
    Ok(entries)
}

/// The byte at a line and column, both counted from one.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

struct Walk<'t> {
    text: &'t str,
    at: usize,
}

impl Walk<'_> {
    /// Start and end of the next key and of its value.
    fn entry(&mut self) -> Option<((usize, usize), (usize, usize))> {
        self.skip(|c| c.is_whitespace() || c == ',');
        let key = self.value()?;
        self.skip(|c| c.is_whitespace() || c == ':');
        Some((key, self.value()?))
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, is_blank: impl Fn(char) -> bool) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_blank).len();
    }

    /// One value: up to the bracket that closes it, the quote that ends it, or the sign behind it.
    fn value(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        for (at, c) in self.rest().char_indices() {
            let end = start + at;
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => {
                    quoted = !quoted;
                    if !quoted && depth == 0 {
                        return self.found(start, end + 1);
                    }
                }
                _ if quoted => {}
                '[' | '{' => depth += 1,
                ']' | '}' if depth == 0 => return self.found(start, end),
                ']' | '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return self.found(start, end + 1);
                    }
                }
                ',' if depth == 0 => return self.found(start, end),
                c if depth == 0 && c.is_whitespace() => return self.found(start, end),
                _ => {}
            }
        }
        None
    }

    fn found(&mut self, start: usize, end: usize) -> Option<(usize, usize)> {
        self.at = end;
        (end > start).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::entries;
    use archc_grammar::FileId;

    #[test]
    fn entries_stand_where_the_text_has_them() {
        let text = "{ \"a\": [1, {\"b\": \"]\"}], \"c\\\"\":null,\n\"d\" : 1e-5 , \"e\":\"x\", \"a\": {} }";
        let found = entries(text, FileId(0)).expect("an object");
        let shown: Vec<(&str, &str, &str)> = found
            .iter()
            .map(|entry| (entry.key.as_str(), entry.key_span.text(text), entry.value_span.text(text)))
            .collect();
        let expected = [
            ("a", "\"a\"", "[1, {\"b\": \"]\"}]"),
            ("c\"", "\"c\\\"\"", "null"),
            ("d", "\"d\"", "1e-5"),
            ("e", "\"e\"", "\"x\""),
            ("a", "\"a\"", "{}"),
        ];
        assert_eq!(shown, expected);
        assert!(entries("{}", FileId(0)).is_ok_and(|entries| entries.is_empty()));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[1]", "{\"a\": 1,}", "{\"a\": Infinity}", "{\"ä\": 1", "null", "{\"a\":1} x"] {
            assert!(entries(text, FileId(0)).is_err(), "{text}");
        }
    }
}
