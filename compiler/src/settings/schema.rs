//! The JSON schema of the file, for editors, and what it says is wrong with a text.

use super::document::Document;
use super::yaml::{Key, Kind, Node};
use crate::suggest::did_you_mean;
use archc_grammar::Diagnostic;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::sync::LazyLock;

/// The schema, in the words of JSON Schema 2020-12.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let settings = SchemaSettings::draft2020_12().for_deserialize().with(|own| own.inline_subschemas = true);
        settings.into_generator().into_root_schema_for::<Document>().to_value()
    });
    &SCHEMA
}

/// Everything that is wrong with a file. Of JSON Schema it knows the words that [`schema`] is made of.
pub(super) fn check(root: &Node, schema: &Value) -> Vec<Diagnostic> {
    let mut problems = vec![];
    // A file without anything in it declares nothing.
    if !matches!(root.kind, Kind::Scalar(Value::Null)) {
        value(root, schema, "archc.yaml", &mut problems);
    }
    problems
}

fn value(node: &Node, schema: &Value, name: &str, problems: &mut Vec<Diagnostic>) {
    let schema = alternative(node, schema);
    // What is left out says nothing.
    if kind(node) == "null" && types(schema).contains(&"null") {
        return;
    }
    let words = words(schema);
    if !words.is_empty() {
        problems.extend(word(node, &words, name));
    } else if !types(schema).contains(&kind(node)) {
        let types: Vec<&str> = types(schema).into_iter().filter(|own| *own != "null").map(noun).collect();
        problems.push(wrong(node, format!("`{name}` is {}", types.join(" or "))));
    } else {
        match &node.kind {
            Kind::Scalar(scalar) => problems.extend(number(node, scalar, schema, name)),
            Kind::List(items) => list(node, items, schema, name, problems),
            Kind::Mapping(_) => mapping(node, schema, name, problems),
        }
    }
}

/// Of several schemas that of the kind of the value, or the first.
fn alternative<'s>(node: &Node, schema: &'s Value) -> &'s Value {
    let Some(all) = schema.get("anyOf").and_then(Value::as_array) else { return schema };
    all.iter().find(|own| types(own).contains(&kind(node))).or(all.first()).unwrap_or(schema)
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        // Words of which each has a description.
        _ if !words(schema).is_empty() => vec!["string"],
        _ => vec![],
    }
}

fn kind(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Scalar(Value::Null) => "null",
        Kind::Scalar(Value::Bool(_)) => "boolean",
        Kind::Scalar(Value::Number(_)) => "number",
        Kind::Scalar(_) => "string",
        Kind::List(_) => "array",
        Kind::Mapping(_) => "object",
    }
}

fn noun(kind: &str) -> &str {
    match kind {
        "number" => "a number",
        "string" => "a word",
        "array" => "a list",
        "object" => "a mapping of keys to values",
        other => other,
    }
}

/// The words that a value may be, if it is one of some.
fn words(schema: &Value) -> Vec<&str> {
    let all = |key| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    let described = all("oneOf").flat_map(|own| match own.get("const") {
        Some(word) => vec![word],
        None => own.get("enum").and_then(Value::as_array).into_iter().flatten().collect(),
    });
    all("enum").chain(described).filter_map(Value::as_str).collect()
}

fn word(node: &Node, words: &[&str], name: &str) -> Option<Diagnostic> {
    let given = match &node.kind {
        Kind::Scalar(Value::String(text)) => text.as_str(),
        Kind::Scalar(_) | Kind::List(_) | Kind::Mapping(_) => "",
    };
    if words.contains(&given) {
        return None;
    }
    let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let help = did_you_mean(given, words.iter().copied());
    Some(
        wrong(node, format!("`{name}` is none of its words"))
            .help(help.unwrap_or_else(|| format!("it is one of {}", list.join(", ")))),
    )
}

fn number(node: &Node, scalar: &Value, schema: &Value, name: &str) -> Option<Diagnostic> {
    let given = scalar.as_f64()?;
    let limit = |key| schema.get(key).and_then(Value::as_f64);
    let bounds = [
        (limit("minimum").filter(|least| given < *least), "at least"),
        (limit("exclusiveMinimum").filter(|least| given <= *least), "more than"),
        (limit("maximum").filter(|most| given > *most), "at most"),
        (limit("exclusiveMaximum").filter(|most| given >= *most), "less than"),
    ];
    let (bound, relation) = bounds.into_iter().find_map(|(bound, relation)| Some((bound?, relation)))?;
    Some(wrong(node, format!("`{name}` has to be {relation} {bound}")))
}

fn list(node: &Node, items: &[Node], schema: &Value, name: &str, problems: &mut Vec<Diagnostic>) {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    if (items.len() as u64) < least {
        problems.push(wrong(node, format!("`{name}` has nothing in it")));
    }
    if let Some(own) = schema.get("items") {
        items.iter().for_each(|item| value(item, own, name, problems));
    }
}

fn mapping(node: &Node, schema: &Value, name: &str, problems: &mut Vec<Diagnostic>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let known = || properties.into_iter().flat_map(|own| own.keys()).map(String::as_str);
    for (at, (key, own)) in node.entries().iter().enumerate() {
        let before = node.entries().iter().take(at);
        if let Some((first, _)) = before.into_iter().find(|(other, _)| other.text == key.text) {
            let problem = Diagnostic::error("settings/duplicate-key", format!("`{}` is given twice", key.text))
                .label(key.span, "again here")
                .label(first.span, "first here");
            problems.push(problem);
            continue;
        }
        let of_key = properties.and_then(|own| own.get(&key.text)).or(schema.get("additionalProperties"));
        match of_key.filter(|own| own.is_object()) {
            Some(of_key) => value(own, of_key, &key.text, problems),
            None => problems.push(unknown(key, schema, known())),
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for missing in required.filter(|key| node.key(key).is_none()) {
        let problem = Diagnostic::error("settings/undeclared", format!("`{name}` needs `{missing}`"));
        problems.push(problem.label(node.span, format!("without `{missing}`")));
    }
}

fn unknown<'a>(key: &Key, schema: &Value, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let (id, what) = match schema.get("x-key").and_then(Value::as_str) {
        Some("rule") => ("settings/unknown-rule", "rule"),
        _ => ("settings/unknown-key", "key"),
    };
    let mut problem = Diagnostic::error(id, format!("there is no {what} `{}`", key.text)).label(key.span, "not known");
    problem.help = did_you_mean(&key.text, known);
    problem
}

fn wrong(node: &Node, message: String) -> Diagnostic {
    Diagnostic::error("settings/value", message).label(node.span, "not this")
}
