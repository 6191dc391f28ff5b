//! Declarations to the pages of `specs/reference`: operators, rules, standard library.

use crate::{architectures, corpus};
use archc_compiler::ops::signature::{AttributeInfo, Operands, Signature};
use archc_compiler::{FileId, library, lint, ops, settings};
use archc_grammar::ast::{Definition, DefinitionKind, ItemKind};
use archc_grammar::{Span, parse};
use std::fs;

/// A generated file of the repository.
#[derive(Clone, Debug)]
pub struct Page {
    /// From the root of the repository.
    pub path: &'static str,
    pub text: String,
}

impl Page {
    pub fn is_current(&self) -> bool {
        corpus::read(self.path) == self.text
    }

    pub fn write(&self) -> std::io::Result<()> {
        let path = corpus::root().join(self.path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, &self.text)
    }
}

/// Whether files are to be rewritten rather than compared.
pub fn is_update() -> bool {
    std::env::var_os("UPDATE_PAGES").is_some()
}

/// All generated pages but that of the evidence.
pub fn pages() -> Vec<Page> {
    vec![
        Page { path: "README.md", text: architectures::readme() },
        Page { path: "specs/reference/archc.schema.json", text: schema() },
        Page { path: "specs/reference/operators.md", text: operators() },
        Page { path: "specs/reference/rules.md", text: rules() },
        Page { path: "specs/reference/standard-library.md", text: standard_library() },
    ]
}

/// What stands above a page, with the test that writes it.
pub fn generated(test: &str) -> String {
    format!(
        "<!-- Generated from the declarations. To refresh: UPDATE_PAGES=1 cargo test -p archc-tests --test {test} -->"
    )
}

/// What may stand in `archc.yaml`, as `archc config --schema` prints it.
fn schema() -> String {
    format!("{:#}\n", settings::schema())
}

fn operators() -> String {
    let generated = generated("pages");
    let mut page = format!(
        "# Operators\n\n{generated}\n\n\
         Operators are what everything else is made of. An operator is called with its tensors, then its attributes:\n\
         `linear(x, 64)`, or behind an arrow, `x -> linear(64)`. Attributes may be named, `x -> linear(features: 64)`.\n\n\
         An operator that has parameters takes two more arguments, always by name: `init` says how its weight starts,\n\
         `bias_init` how its bias does. The batch axis is implicit in every type. Shapes of parameters are those of\n\
         PyTorch.\n"
    );
    for signature in ops::signatures() {
        page.push_str(&operator(signature));
    }
    page
}

fn operator(signature: &Signature) -> String {
    let mut text = format!("\n## {}\n\n```text\n{}\n```\n\n", signature.name, call(signature));
    text.push_str(&prose(signature.doc));
    text.push('\n');
    if !signature.attributes.is_empty() {
        text.push_str("\n| attribute | expects | default | meaning |\n|---|---|---|---|\n");
        for attribute in signature.attributes {
            text.push_str(&row(attribute));
        }
    }
    text
}

/// `conv2d(x, features: .., kernel: .., stride: .. = 1)`
fn call(signature: &Signature) -> String {
    let operands: Vec<String> = match signature.operands {
        Operands::Fixed(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        // `attention(q, k, v, bias: .. = none, heads: ..)`: what may be left out is given by name.
        Operands::Optional { names, required } => {
            let given = names.iter().take(required).map(|name| (*name).to_owned());
            given.chain(names.iter().skip(required).map(|name| format!("{name}: .. = none"))).collect()
        }
        Operands::Variadic(name) => vec![format!("{name}1"), format!("{name}2"), "..".to_owned()],
    };
    let attributes = signature.attributes.iter().map(|attribute| match default(attribute) {
        Some(default) => format!("{}: {default}", attribute.name),
        None => format!("{}: ..", attribute.name),
    });
    let arguments: Vec<String> = operands.into_iter().chain(attributes).collect();
    format!("{}({})", signature.name, arguments.join(", "))
}

fn default(attribute: &AttributeInfo) -> Option<String> {
    attribute.default.map(|default| default())
}

fn row(attribute: &AttributeInfo) -> String {
    let default = default(attribute).map_or("required".to_owned(), |default| format!("`{default}`"));
    let doc = attribute.doc.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("| `{}` | {} | {default} | {doc} |\n", attribute.name, attribute.expected)
}

/// A doc comment without the blank behind its slashes.
fn prose(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

fn rules() -> String {
    let generated = generated("pages");
    let mut page = format!(
        "# Rules\n\n{generated}\n\n\
         A rule reads the graph of a model, not the text: how an architecture is written makes no difference to what is\n\
         found. `archc check` runs all rules, `archc explain RULE` shows the page of one. A finding can be excused where\n\
         it stands with `#[allow(RULE, \"reason\")]`. Remarks (info) are shown with `--remarks`, the rules of `precision/`\n\
         run where the numbers are declared, `--dtype f16`.\n\n\
         Some mistakes of other frameworks need no rule. A start cannot be overridden: an argument of a call counts before\n\
         the innermost `init` statement that says anything, and that before the default. Every parameter has a start. There\n\
         is no operator that normalises over the samples of a batch.\n\n\
         | rule | level | what it does |\n|---|---|---|\n"
    );
    for rule in lint::rules() {
        let anchor: String = rule.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let row = format!(
            "| [`{}`](#{anchor}-{level}) | {level} | {} |\n",
            rule.id,
            rule.summary(),
            level = rule.level.name()
        );
        page.push_str(&row);
    }
    for rule in lint::rules() {
        // The page of a rule stands by itself; here it is a chapter.
        let lines = rule.page();
        let mut code = false;
        page.push('\n');
        for line in lines.lines() {
            code ^= line.starts_with("```");
            if line.starts_with('#') && !code {
                page.push('#');
            }
            page.push_str(&if code { line.to_owned() } else { linked(line) });
            page.push('\n');
        }
    }
    page
}

/// Prose in which each thread, `owner/repository#number`, leads to where it stands. Pull requests are found under the
/// numbers of issues too.
fn linked(line: &str) -> String {
    let linked = |word: &str| {
        let thread = word.trim_matches(|c: char| c.is_ascii_punctuation());
        let (repository, number) = thread.split_once('#').filter(|(repository, number)| {
            repository.matches('/').count() == 1 && !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
        })?;
        let link = format!("[{thread}](https://github.com/{repository}/issues/{number})");
        Some(word.replacen(thread, &link, 1))
    };
    let words = line.split(' ').map(|word| linked(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

fn standard_library() -> String {
    let generated = generated("pages");
    let mut page = format!(
        "# Standard library\n\n{generated}\n\n\
         Blocks written in the language, under `specs/std`, and part of the program: `use std.transformer.{{Mlp}}` needs no\n\
         file. They are ordinary blocks, to be read, copied and changed.\n"
    );
    for (name, source) in library::STD {
        page.push_str(&module(name, source));
    }
    page.push_str(
        "\n## std.models\n\nPublished networks, the files of `specs`: `use std.models.sd3.{SD3}` needs no file either. What\n\
         `archc import` writes uses them.\n\n| file | model | is |\n|---|---|---|\n",
    );
    for (name, source) in library::MODELS {
        page.push_str(&models(name, source));
    }
    page
}

/// A row for each model of a file, with the first sentence about it.
fn models(name: &str, source: &str) -> String {
    let mut rows = String::new();
    for item in parse(source, FileId(0)).file.items {
        if let ItemKind::Definition(definition) = item.kind
            && definition.kind == DefinitionKind::Model
        {
            let docs = definition.docs.split_whitespace().collect::<Vec<_>>().join(" ");
            let first = sentence(&docs);
            rows.push_str(&format!("| `std.models.{name}` | `{}` | {first} |\n", definition.name.text));
        }
    }
    rows
}

/// The first sentence of a text; that of "et al." does not end there.
fn sentence(text: &str) -> &str {
    let mut ends = text.match_indices(". ").map(|(at, _)| text.get(..at).unwrap_or(text));
    ends.find(|sentence| !sentence.ends_with(" al")).unwrap_or(text.trim_end_matches('.'))
}

fn module(name: &str, source: &str) -> String {
    let mut text = format!("\n## std.{name}\n\n{}\n", introduction(source));
    for item in parse(source, FileId(0)).file.items {
        if let ItemKind::Definition(definition) = item.kind {
            text.push_str(&block(&definition, source));
        }
    }
    text
}

/// The first comment of a file that belongs to no item.
fn introduction(source: &str) -> String {
    let lines = source.lines().skip_while(|line| !line.starts_with("// "));
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix("// ")).collect();
    lines.join("\n")
}

fn block(definition: &Definition, source: &str) -> String {
    let span: Span = definition.header;
    format!("\n### {}\n\n{}\n\n```text\n{}\n```\n", definition.name.text, definition.docs, span.text(source).trim())
}
