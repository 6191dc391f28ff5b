//! Items: imports, definitions, presets.

use super::{Builder, Children, Rule, children, explain, take};
use crate::ast::{
    Allow, Definition, DefinitionKind, Expr, ExprKind, File, Item, ItemKind, Name, Parameter, Preset, ResultType, Role,
    TypeExpr, Use, UseName, UseSource,
};
use crate::diagnostic::Diagnostic;
use pest::iterators::Pair;
use std::sync::Arc;

impl Builder<'_> {
    /// `arch 1`, then items
    pub(super) fn file(&mut self, pair: Pair<'_, Rule>) -> File {
        let mut file = File::default();
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::edition => {
                    let span = self.span(&inner);
                    let number = children(inner).next().and_then(|n| n.as_str().replace('_', "").parse().ok());
                    file.edition = Some((number.unwrap_or(u64::MAX), span));
                }
                Rule::item => file.items.extend(self.item(inner)),
                _ => {}
            }
        }
        file
    }

    fn item(&mut self, pair: Pair<'_, Rule>) -> Option<Item> {
        let span = self.span(&pair);
        let mut inner = children(pair);
        let allows = self.allows(&mut inner);
        let pair = inner.next()?;
        let kind = match pair.as_rule() {
            Rule::use_item => ItemKind::Use(self.use_item(pair)),
            Rule::definition => {
                let definition = self.definition(pair, span.start as usize);
                ItemKind::Definition(Arc::new(Definition { allows, ..definition }))
            }
            Rule::preset => ItemKind::Preset(self.preset(pair, span.start as usize)),
            _ => {
                self.bad_item(&pair);
                return None;
            }
        };
        Some(Item { kind, span })
    }

    /// `#[allow(rule, "reason")]`, any number of them
    pub(super) fn allows(&mut self, pairs: &mut Children<'_>) -> Vec<Allow> {
        std::iter::from_fn(|| take(pairs, Rule::attribute)).filter_map(|pair| self.attribute(pair)).collect()
    }

    fn attribute(&mut self, pair: Pair<'_, Rule>) -> Option<Allow> {
        let span = self.span(&pair);
        let mut inner = children(pair);
        let word = inner.next()?;
        if word.as_str() != "allow" {
            let message = format!("unknown attribute `{}`", word.as_str());
            let problem = Diagnostic::error("syntax/attribute", message)
                .label(self.span(&word), "not an attribute")
                .help("the one attribute is `#[allow(group/rule, \"reason\")]`");
            self.report(problem);
            return None;
        }
        let rule = self.name(&inner.next()?);
        let reason = inner.next().map(|text| self.text_value(&text)).filter(|text| !text.trim().is_empty());
        let Some(reason) = reason else {
            let problem = Diagnostic::error("syntax/allow-without-reason", "an `allow` needs a reason")
                .label(span, format!("why is `{}` right here?", rule.text))
                .help(format!("write `#[allow({}, \"the reason\")]`", rule.text));
            self.report(problem);
            return None;
        };
        Some(Allow { rule, reason, span })
    }

    fn bad_item(&mut self, pair: &Pair<'_, Rule>) {
        let text = pair.as_str();
        let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
        if let (Some("block" | "model" | "preset"), Some(name)) = (words.next(), words.next()) {
            self.broken.push(Arc::from(name));
        }
        let problem = explain::item(self.source, self.file, pair.as_span().start(), text);
        self.report(problem);
    }

    /// `use std.embed.{PatchEmbed}` or `use std.embed.PatchEmbed`
    fn use_item(&mut self, pair: Pair<'_, Rule>) -> Use {
        let mut source = UseSource::Path(vec![]);
        let mut source_span = self.span(&pair);
        let mut names = vec![];
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::text => {
                    source_span = self.span(&inner);
                    source = UseSource::File(self.text_value(&inner));
                }
                Rule::use_path => {
                    source_span = self.span(&inner);
                    source = UseSource::Path(inner.as_str().split('.').map(Arc::from).collect());
                }
                Rule::use_name => {
                    let mut words = children(inner);
                    let Some(name) = words.next().map(|word| self.name(&word)) else { continue };
                    names.push(UseName { name, alias: words.next().map(|word| self.name(&word)) });
                }
                _ => {}
            }
        }
        if names.is_empty() {
            names = self.single_import(&mut source, source_span);
        }
        Use { source, source_span, names }
    }

    /// The last word of `use std.embed.PatchEmbed` is what is imported.
    fn single_import(&mut self, source: &mut UseSource, span: crate::span::Span) -> Vec<UseName> {
        if let UseSource::Path(path) = source
            && path.len() > 1
            && let Some(text) = path.pop()
        {
            let name_span = crate::span::Span { start: span.end - text.len() as u32, ..span };
            return vec![UseName { name: Name { text, span: name_span }, alias: None }];
        }
        let problem = Diagnostic::error("syntax/use", "this import names nothing")
            .label(span, "what of it?")
            .help("list what you need: `use std.embed.{PatchEmbed, TimestepEmbedding}`");
        self.report(problem);
        vec![]
    }

    /// `block Name(x: image[C, H, W]) -> image[C, H, W] { .. }`
    fn definition(&mut self, pair: Pair<'_, Rule>, item_start: usize) -> Definition {
        let start = self.span(&pair);
        let mut definition = Definition {
            kind: DefinitionKind::Block,
            allows: vec![],
            name: Name { text: Arc::from(""), span: start },
            docs: self.docs_above(item_start),
            parameters: vec![],
            results: None,
            body: crate::ast::Body::default(),
            header: start,
        };
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::definition_kind if inner.as_str() == "model" => definition.kind = DefinitionKind::Model,
                Rule::ident => definition.name = self.name(&inner),
                Rule::parameters => {
                    definition.header.end = self.span(&inner).end;
                    definition.parameters = children(inner).map(|pair| self.parameter(pair)).collect();
                }
                Rule::result_type => {
                    definition.header.end = self.span(&inner).end;
                    definition.results = Some(self.result_type(inner));
                }
                Rule::body => definition.body = self.body(inner),
                _ => {}
            }
        }
        definition
    }

    /// `cond c: vector[D]`, `heads: int = 8`
    fn parameter(&mut self, pair: Pair<'_, Rule>) -> Parameter {
        let span = self.span(&pair);
        let docs = self.docs_above(span.start as usize);
        let mut parameter = Parameter {
            role: None,
            name: Name { text: Arc::from(""), span },
            docs,
            kind: TypeExpr::Plain { name: Name { text: Arc::from(""), span }, arguments: vec![], span },
            default: None,
            span,
        };
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::role => {
                    parameter.role = Some(if inner.as_str() == "gate" { Role::Gate } else { Role::Cond });
                }
                Rule::ident => parameter.name = self.name(&inner),
                Rule::type_expr => parameter.kind = self.type_expr(inner),
                Rule::expr => parameter.default = Some(self.expr(inner)),
                _ => {}
            }
        }
        parameter
    }

    /// `tokens[N, D]`, `[int]`
    fn type_expr(&mut self, pair: Pair<'_, Rule>) -> TypeExpr {
        let span = self.span(&pair);
        let mut name = Name { text: Arc::from(""), span };
        let mut arguments = vec![];
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::list_type => {
                    if let Some(element) = children(inner).next() {
                        return TypeExpr::List { element: Box::new(self.type_expr(element)), span };
                    }
                }
                Rule::type_name => name = self.name(&inner),
                Rule::expr => arguments.push(self.expr(inner)),
                _ => {}
            }
        }
        TypeExpr::Plain { name, arguments, span }
    }

    /// `tokens[N, D]` or `(out: tokens[N, D], pooled: vector[D])`
    fn result_type(&mut self, pair: Pair<'_, Rule>) -> Vec<ResultType> {
        let Some(inner) = children(pair).next() else { return vec![] };
        if inner.as_rule() == Rule::type_expr {
            return vec![ResultType { name: None, kind: self.type_expr(inner) }];
        }
        let mut results = vec![];
        for result in children(inner) {
            let mut parts = children(result);
            let name = take(&mut parts, Rule::ident).map(|pair| self.name(&pair));
            if let Some(kind) = parts.next() {
                results.push(ResultType { name, kind: self.type_expr(kind) });
            }
        }
        results
    }

    /// `preset dit_xl_2 = DiT(depth: 28)`
    fn preset(&mut self, pair: Pair<'_, Rule>, item_start: usize) -> Preset {
        let span = self.span(&pair);
        let blank = Name { text: Arc::from(""), span };
        let mut preset =
            Preset { name: blank.clone(), docs: self.docs_above(item_start), model: blank, arguments: vec![] };
        let mut names = vec![];
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::ident => names.push(self.name(&inner)),
                Rule::arguments => preset.arguments = self.arguments(inner),
                _ => {}
            }
        }
        let mut names = names.into_iter();
        if let (Some(name), Some(model)) = (names.next(), names.next()) {
            (preset.name, preset.model) = (name, model);
        }
        preset
    }

    pub(super) fn invalid(&self, pair: &Pair<'_, Rule>) -> Expr {
        Expr { kind: ExprKind::Invalid, span: self.span(pair) }
    }
}
