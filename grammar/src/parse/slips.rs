//! What people write who come from other languages, and what to write here.

use strsim::damerau_levenshtein;

/// A place where reading got stuck.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// What stands there; empty at the end of a line.
    pub found: &'a str,
    /// From there on.
    pub rest: &'a str,
    /// From behind it on.
    pub behind: &'a str,
    /// The piece of text that was read, up to there, without blanks at its end.
    pub head: &'a str,
    pub context: Context,
}

/// What surrounds a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// The top level of a file.
    Item,
    /// The parentheses of a definition.
    Parameters,
    /// Other parentheses.
    Arguments,
    /// Square brackets.
    Brackets,
    Statement,
}

impl Place<'_> {
    /// The first word of the piece.
    fn first_word(&self) -> &str {
        word_at(self.head)
    }

    /// The word right before the place.
    fn last_word(&self) -> &str {
        let start = self.head.rfind(|c: char| !is_word(c)).map_or(0, |found| found + 1);
        self.head.get(start..).unwrap_or("")
    }

    /// Help for a foreign word, where the word means what it means elsewhere.
    fn foreign(&self, word: &str) -> Option<&'static str> {
        let is_binding = matches!(word, "var" | "val" | "const" | "auto" | "mut");
        if is_binding && self.context == Context::Parameters { None } else { foreign_word(word) }
    }

    /// Whether all that was read is a name that is given a value.
    fn is_target(&self) -> bool {
        self.context == Context::Statement && self.head.chars().all(is_word)
    }

    fn starts_with(&self, words: &[&str]) -> bool {
        words.contains(&self.first_word())
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The word at the start of a text.
pub(super) fn word_at(text: &str) -> &str {
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or("")
}

/// What to write instead, if the slip is a common one.
pub(super) fn slip(place: &Place<'_>) -> Option<&'static str> {
    sign(place)
        .or_else(|| character(place.found))
        .or_else(|| keyword(place))
        .or_else(|| {
            [place.last_word(), place.found, place.first_word()].into_iter().find_map(|word| place.foreign(word))
        })
        .or_else(|| layout(place))
}

/// Signs that mean something else here, or nothing.
fn sign(place: &Place<'_>) -> Option<&'static str> {
    let Place { found, rest, behind, head, context } = *place;
    let line = rest.lines().next().unwrap_or("");
    let in_body = matches!(context, Context::Statement | Context::Item);
    Some(match found {
        "=" if head.ends_with('=') => "equality is `==`",
        "=" if in_body && head.ends_with(['+', '-', '*', '/']) => "write the name twice: `h = h + ..`",
        "=" if rest.starts_with("=<") => "write `<=`",
        "=" if place.starts_with(&["process"]) => "entries have a colon: `schedule: cosine`",
        "=" if context == Context::Parameters => "a parameter needs a type: `heads: int = 4`",
        "=" if context == Context::Arguments => "arguments are named with a colon: `name: value`",
        "=" if place.starts_with(&["if", "assert"]) => "equality is `==`",
        "=" if place.starts_with(&["for"]) && !head.contains(" in ") => "write `for i in 0..n { .. }`",
        "=" if head.ends_with("..") => "a range stops before its end: `0..3` is 0, 1, 2",
        "=" if place.starts_with(&["block", "model", "pipeline"]) => "a body stands in braces: `{ .. }`",
        "=" if place.starts_with(&["skip"]) => "a policy stands in parentheses: `skip long(fuse: add)`",
        "=" if in_body && head.contains('=') => "one value is given at a time",
        "==" if place.starts_with(&["let"]) => "a value is given with `=`",
        ":" if context == Context::Parameters => "a default stands behind `=`: `heads: int = 4`",
        ":" if context == Context::Arguments && head.ends_with('"') => "names of arguments have no quotes",
        ":" if context == Context::Brackets => "there are no slices of lists",
        ":" if !in_body => return None,
        ":" if place.starts_with(&["let"]) && !head.contains('=') => "types are inferred: `let h = x -> linear(64)`",
        ":" if place.starts_with(&["block", "model", "pipeline"]) => {
            "the result stands behind an arrow: `-> vector[4]`"
        }
        ":" if place.starts_with(&["for"])
            && head.ends_with(|c: char| c.is_ascii_digit())
            && behind.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            "a range is `0..n`"
        }
        ":" if place.starts_with(&["for", "if", "while", "elif", "else"]) => "a body stands in braces: `{ .. }`",
        ":" if place.starts_with(&["use"]) => "the parts of a path have dots between: `use std.embed.{PatchEmbed}`",
        ":" if place.starts_with(&["init"]) => "write `init linear = zero`",
        "/" if rest.starts_with("/*") => "comments start with `//`",
        "*" if head.ends_with('/') => "comments start with `//`",
        "/" if place.starts_with(&["use"]) => "the parts of a path have dots between: `use std.embed.{PatchEmbed}`",
        "*" if place.starts_with(&["use"]) => "an import lists its names: `use std.embed.{PatchEmbed}`",
        "*" if rest.starts_with("**") || head.ends_with('*') => "write `pow(base, exponent)`",
        "^" => "write `pow(base, exponent)`",
        "+" | "-" | "*" | "/" if behind.starts_with('=') => "write the name twice: `h = h + ..`",
        "+" if head.ends_with('+') => "write `i = i + 1`",
        "+" if behind.starts_with(|c: char| c.is_ascii_digit()) => "leave the `+` out",
        "-" if behind.trim_start().starts_with('>') => "the arrow is `->`, without a blank",
        ">" if head.ends_with('>') => "the arrow is `->`",
        ">" if head.ends_with('<') => "write `!=`",
        "<" | ">" | "<=" | ">=" | "==" | "!=" if has_comparison(head) => "compare two at a time: `a < b && b < c`",
        "<" | "(" if context == Context::Parameters => "sizes stand in square brackets: `vector[64]`",
        "&" => "write `&&`",
        "|" if head.ends_with("->") => "a stage written in place is `{ h => .. }`",
        "|" | "|>" => "the arrow is `->`; a logical or is `||`",
        "=>" if context == Context::Arguments => "a stage written in place is `{ h => .. }`",
        "=>" => "the arrow is `->`",
        "?" if line.contains(':') => "a choice is `if a { x } else { y }`",
        "#" if rest.starts_with("#allow") || rest.starts_with("#[") => {
            "write `#[allow(group/rule, \"reason\")]` before what it is about"
        }
        "@" if rest.starts_with("@allow") => "write `#[allow(group/rule, \"reason\")]`",
        "@" if in_body => "a label stands behind the call it names: `linear(64) @proj`",
        "#" => "comments start with `//`",
        _ if in_body && (head.starts_with("--") || rest.starts_with("--") && head.is_empty()) => {
            "comments start with `//`"
        }
        "\\" => "a statement goes on where the next line starts with an arrow or an operator",
        "'" => "text stands in double quotes",
        "\"" if matches!(place.last_word(), "f" | "r" | "b") => "texts are put together with `+`",
        "." if head.ends_with("..") => "a range stops before its end: `0..3` is 0, 1, 2",
        "." if !head.ends_with('.')
            && behind.starts_with(|c: char| c.is_ascii_alphabetic())
            && !place.starts_with(&["use", "order", "init"])
            && (!place.starts_with(&["let"]) || head.contains('=')) =>
        {
            "there are no methods: write `x -> f()`"
        }
        "-" if place.starts_with(&["block", "model", "pipeline"]) && !head.contains('(') => {
            "names consist of a-z, A-Z, 0-9 and `_`"
        }
        "{" if head.ends_with("->") && !place.starts_with(&["block", "model", "pipeline"]) => {
            "a stage written in place names its input: `{ h => .. }`"
        }
        "{" if place.starts_with(&["skip"]) => "a policy stands in parentheses: `skip long(fuse: add)`",
        "{" if place.starts_with(&["preset"]) => "hyperparameters stand in parentheses: `DiT(depth: 12)`",
        "(" if place.starts_with(&["for"]) => "write `for x in xs { .. }`, or `for x, i in xs { .. }` with the index",
        "," if place.starts_with(&["block", "model", "pipeline"]) && in_body => {
            "several results stand in parentheses: `-> (vector[4], vector[8])`"
        }
        "," if place.starts_with(&["let"]) && !head.contains('=') => {
            "names of the items of a list stand in brackets: `let [a, b] = ..`"
        }
        "," if in_body && line.contains("=>") => "a stage has one input: `{ h => .. }`",
        "," if in_body && line.contains('=') => "names of the items of a list stand in brackets: `let [a, b] = ..`",
        "[" if in_body && line.contains(']') && place.is_target() => "items of a list cannot be given new values",
        "," if head.ends_with(|c: char| c.is_ascii_digit()) && in_body => "digits are grouped with `_`: `1_000`",
        _ => return None,
    })
}

fn has_comparison(head: &str) -> bool {
    let last = head.rsplit(['(', '{', ',', '\n']).next().unwrap_or("");
    ["<", ">", "==", "!="].iter().any(|sign| last.contains(sign))
}

/// Characters that look like signs of the language.
fn character(found: &str) -> Option<&'static str> {
    Some(match found {
        "→" => "the arrow is `->`, in two characters",
        "←" => "the arrow is `<-`, in two characters",
        "×" | "·" | "⊙" => "write `*`",
        "÷" => "write `/`",
        "−" | "–" | "—" => "write `-`",
        "≤" => "write `<=`",
        "≥" => "write `>=`",
        "≠" => "write `!=`",
        "“" | "”" | "„" | "‘" | "’" => "text stands in straight double quotes",
        _ if found.chars().any(char::is_alphabetic) && !found.is_ascii() => "names consist of a-z, A-Z, 0-9 and `_`",
        _ if found.chars().any(char::is_whitespace) => "this blank is no ordinary one; type it again",
        _ => return None,
    })
}

/// Words of the language in the wrong place.
fn keyword(place: &Place<'_>) -> Option<&'static str> {
    let Place { found, head, context, .. } = *place;
    let behind_value = context == Context::Statement && !head.is_empty();
    Some(match found {
        "block" | "model" | "pipeline" | "preset" | "use" if context == Context::Statement => {
            "blocks, models, presets and imports stand at the top level of a file"
        }
        "let" | "for" | "if" | "encoder" | "decoder" | "bottleneck" | "skip" | "init" | "process"
            if context == Context::Item =>
        {
            "statements stand in the body of a block or a model"
        }
        "arch" if context == Context::Item => "the edition is a number on the first line: `arch 1`",
        "let" | "for" if behind_value => "statements stand on lines of their own, or have `;` between them",
        "for" if context == Context::Brackets => {
            "there are no comprehensions; build a list in a loop: `xs = xs + [..]`"
        }
        "else" if head.is_empty() => "`else` stands behind the `}` of an `if`",
        "{" if let Some(word) = section_word(place.last_word()) => word,
        _ => return None,
    })
}

/// A section whose word is misspelt.
fn section_word(word: &str) -> Option<&'static str> {
    let near = |own: &str| word != own && damerau_levenshtein(&word.to_lowercase(), own) <= 2;
    Some(match word {
        _ if near("encoder") => "did you mean `encoder`?",
        _ if near("decoder") => "did you mean `decoder`?",
        _ if near("bottleneck") => "did you mean `bottleneck`?",
        _ if near("residual") => "did you mean `residual`?",
        _ => return None,
    })
}

/// Help for a word that other languages have, or that means something in another place alone.
pub fn foreign_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "and" => "write `&&`",
        "or" => "write `||`",
        "not" => "write `!`",
        "return" => "the last expression of a block is its result; leave `return` out",
        "while" => "loops run over a range or a list: `for i in 0..depth { .. }`",
        "range" => "a range is `0..n`",
        "break" | "continue" => "loops run to their end; choose what they run over, or use `if`",
        "pass" => "an empty body is `{ }`",
        "elif" | "elsif" => "write `else if`",
        "then" => "branches stand in braces: `if a { x } else { y }`",
        "match" | "switch" => "write `if a { x } else if b { y } else { z }`",
        "True" | "False" => "write `true` or `false`",
        "None" | "null" | "nil" | "nullptr" => {
            "a tensor that is not there is `none`; any other argument is left out, or given a default"
        }
        "lambda" => "a stage written in place is `{ h => .. }`",
        "self" | "this" => "there are no objects: parameters belong to the calls that make them",
        "def" | "fn" | "func" | "function" | "class" | "struct" | "module" | "layer" => {
            "a reusable part is a `block`: `block Name(x: image[C, H, W]) { .. }`"
        }
        "import" | "from" | "include" | "using" => "write `use std.embed.{PatchEmbed}`",
        "var" | "val" | "const" | "auto" | "mut" => "a name is bound with `let`, and given a new value with `=`",
        "assert" => "write `assert(condition, \"why\")`",
        "init" => "write `init linear = xavier_uniform`",
        "skip" => "a skip has a name: `skip long(fuse: concat)`",
        "order" => "write `order attn, mlp`",
        "encoder" | "bottleneck" | "decoder" => "a section has a body: `encoder { .. }`",
        "print" | "println" => "`archc ir` prints a model with all its shapes",
        "torch" | "nn" | "F" => "layers are called by their names: `x -> linear(64)`",
        _ => return None,
    })
}

/// Blanks and brackets around arguments.
fn layout(place: &Place<'_>) -> Option<&'static str> {
    let Place { found, head, context, .. } = *place;
    let behind_name = head.ends_with(is_word) && context == Context::Statement;
    let in_label = head.rsplit(char::is_whitespace).next().is_some_and(|last| last.contains('@'));
    match found.chars().next() {
        None if head.contains("residual") => Some("the branch stands in braces: `residual { .. }`"),
        Some(c) if head.ends_with('{') && (c.is_ascii_digit() || c == '"') => {
            Some("a list stands in brackets: `[1, 2]`")
        }
        Some(_) if in_label => Some("a parameter path has letters, digits and `_`, with dots between"),
        Some(c) if behind_name && head.contains("->") && (c.is_ascii_digit() || matches!(c, '{' | '"')) => {
            Some("arguments stand in parentheses: `linear(64)`")
        }
        _ => None,
    }
}

/// The word that starts an item and that `word` was probably meant to be.
pub(super) fn item_word(word: &str) -> Option<&'static str> {
    let near = |own: &&&str| damerau_levenshtein(&word.to_lowercase(), own) <= 1 && word.len() > 2;
    ["block", "model", "pipeline", "preset", "use"].iter().find(near).copied()
}
