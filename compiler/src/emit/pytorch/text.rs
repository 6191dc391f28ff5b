//! Python as text: names, lines, documentation.

/// Columns of a line.
const WIDTH: usize = 110;

/// Words of Python, and names that emitted code uses for something else.
const TAKEN: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield", "F", "Tensor", "int", "float", "list",
    "math", "nn", "ops", "range", "self", "super", "torch", "device", "block",
];

/// A name as Python can have it.
pub(super) fn ident(name: &str) -> String {
    if TAKEN.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

/// Whether a name can stand behind a dot.
pub(super) fn is_attribute(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // Everything that is reserved and no name of ours is a keyword.
    let is_keyword = TAKEN.iter().take_while(|word| **word != "F").any(|word| *word == name);
    starts && is_word && !is_keyword
}

/// Statements, each indented; what is too long is broken at its brackets.
pub(super) fn lines(statements: &[String], indent: usize) -> String {
    statements.iter().map(|statement| broken(statement, indent)).collect()
}

fn broken(line: &str, indent: usize) -> String {
    let space = " ".repeat(indent);
    if line.is_empty() {
        return "\n".to_owned();
    }
    let whole = || format!("{space}{line}\n");
    if indent + line.chars().count() <= WIDTH || line.starts_with('#') {
        return whole();
    }
    let Some((open, close)) = outermost(line) else { return whole() };
    let (Some(head), Some(inner), Some(tail)) = (line.get(..=open), line.get(open + 1..close), line.get(close..))
    else {
        return whole();
    };
    let parts: String = parts(inner).iter().map(|part| broken(&format!("{part},"), indent + 4)).collect();
    // What stands in a comprehension has no comma behind it.
    let parts =
        if inner.contains(" for _ in ") { parts.trim_end().trim_end_matches(',').to_owned() + "\n" } else { parts };
    format!("{space}{head}\n{parts}{space}{tail}\n")
}

/// The last brackets of a line that nothing else encloses.
fn outermost(line: &str) -> Option<(usize, usize)> {
    let (mut depth, mut open, mut found) = (0, 0, None);
    let mut text = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => text = !text,
            '(' | '[' | '{' if !text => {
                if depth == 0 {
                    open = at;
                }
                depth += 1;
            }
            ')' | ']' | '}' if !text => {
                depth -= 1;
                if depth == 0 && at > open + 1 {
                    found = Some((open, at));
                }
            }
            _ => {}
        }
    }
    found
}

/// What commas separate.
fn parts(inner: &str) -> Vec<&str> {
    let (mut depth, mut text, mut start, mut parts) = (0, false, 0, vec![]);
    for (at, c) in inner.char_indices() {
        match c {
            '"' => text = !text,
            '(' | '[' | '{' if !text => depth += 1,
            ')' | ']' | '}' if !text => depth -= 1,
            ',' if !text && depth == 0 => {
                parts.extend(inner.get(start..at).map(str::trim));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(inner.get(start..).map(str::trim).filter(|part| !part.is_empty()));
    parts
}

/// A docstring of several lines.
pub(super) fn docstring(text: &str, indent: usize) -> String {
    let space = " ".repeat(indent);
    let text = text.trim().replace('\\', "\\\\").replace("\"\"\"", "'''");
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let rest: String =
        lines.map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{space}{line}\n") }).collect();
    // A quote at the end would be read as one more of those that end the text.
    match rest.is_empty() {
        true if first.ends_with('"') => format!("{space}\"\"\"{first} \"\"\"\n"),
        true => format!("{space}\"\"\"{first}\"\"\"\n"),
        false => format!("{space}\"\"\"{first}\n{rest}{space}\"\"\"\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_their_brackets() {
        let long = format!("self.layers = nn.ModuleDict({{\"a\": f({}), \"b\": g(2)}})", "x, ".repeat(30));
        let text = lines(&[long], 8);
        assert!(text.starts_with("        self.layers = nn.ModuleDict(\n            {\n"), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(lines(&["x = f(1)".to_owned(), String::new()], 4), "    x = f(1)\n\n");
    }

    #[test]
    fn names_are_those_of_python() {
        assert_eq!((ident("in"), ident("x")), ("in_".to_owned(), "x".to_owned()));
        assert!(is_attribute("norm1") && !is_attribute("0") && !is_attribute("64x64") && !is_attribute("in"));
        assert!(is_attribute("block"));
    }
}
