//! Blocks to cases: a source with its files, its settings and its budget.

use crate::markdown::Block;
use archc_compiler::FileId;
use archc_compiler::analysis::precision::Format;
use archc_compiler::elaborate::Budget;
use archc_grammar::ast::Expr;
use archc_grammar::parse_expression;
use std::sync::Arc;

/// The name of the source that is checked.
pub const MAIN: &str = "main.arch";

/// A source of a case.
#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    /// As the compiler sees it.
    pub text: String,
    /// Line of the suite on which it starts.
    pub line: usize,
    /// Lines that stand before the text of the block.
    pub offset: usize,
}

/// Something to check.
#[derive(Clone, Debug)]
pub struct Case {
    pub suite: String,
    pub heading: String,
    /// The main source, then the others.
    pub files: Vec<File>,
    pub settings: Vec<(Arc<str>, Expr)>,
    pub target: Option<String>,
    pub budget: Budget,
    /// The numbers that it is declared to run in.
    pub dtype: Option<Format>,
    /// What cannot be read of the fence.
    pub mistakes: Vec<String>,
}

impl Case {
    /// Line of the suite on which it starts.
    pub fn line(&self) -> usize {
        self.files.iter().map(|file| file.line).min().unwrap_or(0)
    }
}

/// The cases of a suite. Blocks with file names belong to the case of their heading.
pub fn cases(suite: &str, blocks: Vec<Block>) -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    let mut previous: Option<(String, bool)> = None;
    for block in blocks {
        let block_case = case(suite, &block);
        let is_named = block_case.files.iter().any(|file| file.name != MAIN);
        let belongs =
            previous.as_ref().is_some_and(|(heading, named)| *heading == block.heading && (*named || is_named));
        match cases.last_mut() {
            Some(last) if belongs => merge(last, block_case),
            _ => cases.push(block_case),
        }
        let named = is_named || belongs;
        previous = Some((block.heading, named));
    }
    cases
}

fn merge(case: &mut Case, other: Case) {
    let main_first = other.files.iter().any(|file| file.name == MAIN);
    let at = if main_first { 0 } else { case.files.len() };
    case.files.splice(at..at, other.files);
    case.settings.extend(other.settings);
    case.target = case.target.take().or(other.target);
    case.mistakes.extend(other.mistakes);
}

fn case(suite: &str, block: &Block) -> Case {
    let mut case = Case {
        suite: suite.to_owned(),
        heading: block.heading.clone(),
        files: vec![],
        settings: vec![],
        target: None,
        budget: Budget::default(),
        dtype: None,
        mistakes: vec![],
    };
    let mut file = File { name: MAIN.to_owned(), text: block.text.clone(), line: block.line, offset: 0 };
    for (key, value) in words(&block.info) {
        match key.as_str() {
            "file" => file.name = value,
            "model" => {
                file.text = format!("model Example({value}) {{\n{}}}\n", block.text);
                file.offset = 1;
            }
            "target" => case.target = Some(value),
            "set" => case.set(&value),
            "budget" => case.limit(&value),
            "dtype" => case.declare(&value),
            _ => case.mistakes.push(format!("`{key}` configures nothing")),
        }
    }
    case.files.push(file);
    case
}

impl Case {
    /// `depth = 3; dim = 8`
    fn set(&mut self, text: &str) {
        for setting in text.split(';') {
            let parsed = setting.split_once('=').and_then(|(name, value)| {
                let value = parse_expression(value.trim(), FileId(u32::MAX)).ok()?;
                Some((Arc::from(name.trim()), value))
            });
            match parsed {
                Some(parsed) => self.settings.push(parsed),
                None => self.mistakes.push(format!("`{setting}` is no setting")),
            }
        }
    }

    /// `f16`
    fn declare(&mut self, name: &str) {
        self.dtype = Format::ALL.into_iter().find(|format| format.name() == name);
        if self.dtype.is_none() {
            self.mistakes.push(format!("`{name}` is no format"));
        }
    }

    /// `nodes = 100; depth = 4`
    fn limit(&mut self, text: &str) {
        for limit in text.split(';') {
            let parsed =
                limit.split_once('=').and_then(|(name, value)| Some((name.trim(), value.trim().parse().ok()?)));
            match parsed {
                Some(("nodes", value)) => self.budget.nodes = value,
                Some(("iterations", value)) => self.budget.iterations = value,
                Some(("depth", value)) => self.budget.depth = value,
                _ => self.mistakes.push(format!("`{limit}` is no limit")),
            }
        }
    }
}

/// `key=value` and `key="a value"`.
fn words(info: &str) -> Vec<(String, String)> {
    let mut words = vec![];
    let mut rest = info.trim();
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=').unwrap_or((rest, ""));
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => tail.split_once(' ').unwrap_or((tail, "")),
        };
        words.push((key.trim().to_owned(), value.to_owned()));
        rest = tail.trim();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown::arch_blocks;

    #[test]
    fn named_blocks_join_the_case_of_their_heading() {
        let text = "# A\n```arch\na\n```\n```arch\nb\n```\n# B\n```arch file=x.arch\nx\n```\n```arch\nmain\n```\n";
        let found = cases("suite", arch_blocks(text));
        let names: Vec<Vec<&str>> =
            found.iter().map(|case| case.files.iter().map(|file| file.name.as_str()).collect()).collect();
        assert_eq!(names, [vec![MAIN], vec![MAIN], vec![MAIN, "x.arch"]]);
    }

    #[test]
    fn values_may_be_quoted() {
        let expected = [("model", "x: vector[4]"), ("target", "a")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(words("model=\"x: vector[4]\" target=a"), expected);
    }
}
