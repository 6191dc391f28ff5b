//! YAML with the place of every key and value, which the types of serde do not keep.

use archc_grammar::{Diagnostic, FileId, Span};
use granit_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::Value;

/// The most that lists and mappings nest.
const DEPTH: usize = 32;

#[derive(Debug)]
pub(super) struct Node {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A JSON value that is no list or mapping.
    Scalar(Value),
    List(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub text: String,
    pub span: Span,
}

impl Node {
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            Kind::Scalar(_) | Kind::List(_) => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(own, _)| own.text == key).map(|(_, node)| node)
    }

    pub fn key(&self, key: &str) -> Option<&Key> {
        self.entries().iter().find(|(own, _)| own.text == key).map(|(own, _)| own)
    }

    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Mapping(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect())
            }
        }
    }
}

/// A list or mapping that is being read, with the key whose value comes next.
struct Open {
    node: Node,
    key: Option<Key>,
}

/// The one document of a text; `null` if it is empty.
pub(super) fn parse(text: &str, file: FileId) -> Result<Node, Box<Diagnostic>> {
    let offset = |mark: &Marker| mark.byte_offset().unwrap_or(text.len()).min(text.len());
    let mut open: Vec<Open> = vec![];
    let mut root: Option<Node> = None;
    for event in Parser::new_from_str(text) {
        let (event, place) = event.map_err(|error| {
            let at = offset(error.marker());
            syntax(Span::new(file, at, at), "this is not YAML", &error.info())
        })?;
        let span = Span::new(file, offset(&place.start), offset(&place.end));
        let done = match event {
            Event::DocumentStart(..) if root.is_some() => {
                return Err(syntax(span, "there is more than one document", "the second one starts here"));
            }
            Event::Alias(_) => return Err(syntax(span, "aliases are not read", "write the value itself")),
            Event::Scalar(text, style, ..) => Some(Node { span, kind: Kind::Scalar(scalar(&text, style)) }),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH => {
                return Err(syntax(span, "this nests too deep", "nothing here has so many levels"));
            }
            Event::SequenceStart(..) => {
                open.push(Open { node: Node { span, kind: Kind::List(vec![]) }, key: None });
                None
            }
            Event::MappingStart(..) => {
                open.push(Open { node: Node { span, kind: Kind::Mapping(vec![]) }, key: None });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|done| closed(done.node, span, text)),
            _ => None,
        };
        let Some(node) = done else { continue };
        match open.last_mut() {
            None => root = Some(node),
            Some(outer) => add(outer, node)?,
        }
    }
    Ok(root.unwrap_or(Node { span: Span::new(file, 0, 0), kind: Kind::Scalar(Value::Null) }))
}

/// With the end of it; blocks end where the next one begins, without the blanks between.
fn closed(mut node: Node, end: Span, text: &str) -> Node {
    let whole = node.span.to(end);
    let blanks = whole.text(text).len() - whole.text(text).trim_end().len();
    node.span = Span { end: whole.end - blanks as u32, ..whole };
    node
}

fn add(outer: &mut Open, node: Node) -> Result<(), Box<Diagnostic>> {
    match &mut outer.node.kind {
        Kind::List(items) => items.push(node),
        Kind::Mapping(entries) => match outer.key.take() {
            Some(key) => entries.push((key, node)),
            None => outer.key = Some(key(node)?),
        },
        Kind::Scalar(_) => {}
    }
    Ok(())
}

fn key(node: Node) -> Result<Key, Box<Diagnostic>> {
    match node.kind {
        Kind::Scalar(Value::String(text)) => Ok(Key { text, span: node.span }),
        Kind::Scalar(other) => Ok(Key { text: other.to_string(), span: node.span }),
        Kind::List(_) | Kind::Mapping(_) => Err(syntax(node.span, "keys are words", "this is none")),
    }
}

/// Words without quotes that mean something else, by the core schema of YAML 1.2.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    let word = || Value::String(text.to_owned());
    if style != ScalarStyle::Plain {
        return word();
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match text.parse::<f64>() {
            Ok(number) if is_number => serde_json::Number::from_f64(number).map_or_else(word, Value::Number),
            _ => word(),
        },
    }
}

fn syntax(span: Span, message: &str, label: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic::error("settings/syntax", message).label(span, label))
}
