//! Layout of generated code: prettyplease, and what it does not keep: comments and empty lines.

use crate::emit::EmitError;
use proc_macro2::TokenStream;

/// The text of a file. `comment!("..")` becomes a comment with an empty line in front, and items are set apart.
pub(super) fn file(items: &TokenStream) -> Result<String, EmitError> {
    let parsed = syn::parse2(items.clone())
        .map_err(|error| EmitError(format!("the code that was written is no Rust: {error}")))?;
    let mut text = String::new();
    let mut before = String::new();
    for line in prettyplease::unparse(&parsed).lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let comment = line.trim().strip_prefix("comment!(\"").and_then(|rest| rest.strip_suffix("\");"));
        let starts_item = indent.is_empty() && !line.is_empty() && !is_inside(line);
        let ended = before == "}" || before.ends_with(';') && !before.trim_start().starts_with("//");
        if starts_item && ended {
            text.push('\n');
        }
        match comment {
            Some(comment) => {
                if !before.ends_with('{') {
                    text.push('\n');
                }
                text.push_str(&format!("{indent}// {comment}"));
            }
            None => text.push_str(line),
        }
        text.push('\n');
        before = line.to_owned();
    }
    Ok(text)
}

/// Whether a line without indentation ends or goes on with an item.
fn is_inside(line: &str) -> bool {
    line.starts_with(['}', ')', ']'])
}
