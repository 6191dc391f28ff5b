//! Items: imports, definitions, presets.

use super::slips::word_at;
use super::{Builder, Children, Rule, children, explain, take};
use crate::ast::{
    Allow, Definition, DefinitionKind, Expr, ExprKind, File, Item, ItemKind, Name, Parameter, Preset, ResultType, Role,
    TypeExpr, Use, UseName, UseSource,
};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
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
        if starts_item(pair.as_str()) {
            self.items.push(span.start);
        }
        let mut inner = children(pair);
        let allows = self.allows(&mut inner);
        let misplaced = allows.first().map(|allow| allow.span);
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
        if let (ItemKind::Use(_) | ItemKind::Preset(_), Some(allow)) = (&kind, &misplaced) {
            let problem = Diagnostic::error("syntax/attribute", "nothing is found in an import or a preset")
                .label(*allow, "excuses nothing")
                .help("put it before the block, the model or the statement that it is about");
            self.report(problem);
        }
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
        match words.next() {
            Some("block" | "model" | "pipeline" | "preset") => self.broken.extend(words.next().map(Arc::from)),
            // Whatever it was to import is not unknown.
            Some("use") => self.broken.extend(words.map(Arc::from)),
            _ => {}
        }
        let problem = explain::item(self.source, self.file, pair.as_span().start(), text);
        self.report(problem);
    }

    /// `use std.embed.{PatchEmbed}`, `use std.embed.PatchEmbed as Patches`
    fn use_item(&mut self, pair: Pair<'_, Rule>) -> Use {
        let mut source = UseSource::Path(vec![]);
        let mut source_span = self.span(&pair);
        let mut names = vec![];
        let (mut listed, mut alias) = (false, None);
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
                Rule::use_names => {
                    listed = true;
                    names = children(inner).filter_map(|used| self.use_name(used)).collect();
                }
                Rule::ident => alias = Some(self.binding(&inner)),
                _ => {}
            }
        }
        if !listed {
            names = single_import(&mut source, source_span, alias);
        }
        if names.is_empty() {
            let problem = Diagnostic::error("syntax/use", "this import names nothing")
                .label(source_span, "what of it?")
                .help("list what you need: `use std.embed.{PatchEmbed, TimestepEmbedding}`");
            self.report(problem);
        }
        Use { source, source_span, names }
    }

    /// `sincos_2d as positions`
    fn use_name(&mut self, pair: Pair<'_, Rule>) -> Option<UseName> {
        let mut words = children(pair);
        let name = words.next().map(|word| self.name(&word))?;
        Some(UseName { name, alias: words.next().map(|word| self.binding(&word)) })
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
                Rule::definition_kind => {
                    definition.kind = match inner.as_str() {
                        "model" => DefinitionKind::Model,
                        "pipeline" => DefinitionKind::Pipeline,
                        _ => DefinitionKind::Block,
                    };
                }
                Rule::ident => definition.name = self.binding(&inner),
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
                Rule::ident => parameter.name = self.binding(&inner),
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
        let mut inner = children(pair);
        while let Some(name) = take(&mut inner, Rule::ident) {
            names.push(self.binding(&name));
        }
        preset.arguments = self.optional_arguments(&mut inner);
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

/// Whether a text starts as items do.
pub(super) fn starts_item(text: &str) -> bool {
    matches!(word_at(text), "use" | "block" | "model" | "pipeline" | "preset") || text.starts_with("#[")
}

/// The last word of `use std.embed.PatchEmbed` is what is imported.
fn single_import(source: &mut UseSource, span: Span, alias: Option<Name>) -> Vec<UseName> {
    match source {
        // A file of the standard library by itself names nothing of it.
        UseSource::Path(path)
            if path.len() > 2 || path.len() == 2 && path.first().is_some_and(|first| &**first != "std") =>
        {
            let name = path.pop().map(|text| {
                let start = span.end - text.len() as u32;
                UseName { name: Name { text, span: Span { start, ..span } }, alias }
            });
            name.into_iter().collect()
        }
        UseSource::Path(_) | UseSource::File(_) => vec![],
    }
}
