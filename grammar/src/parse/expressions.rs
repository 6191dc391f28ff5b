//! Expressions, labels and arguments.

use super::{Builder, Children, Rule, children, explain, take};
use crate::ast::{Argument, Expr, ExprKind, If, Operator, ParameterPath, PathPart, UnaryOperator};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use pest::iterators::Pair;
use std::sync::Arc;

impl Builder<'_> {
    /// Any level of the expression grammar. Levels that hold a single operand vanish.
    pub(super) fn expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::expr => match children(pair.clone()).next() {
                Some(inner) => self.expr(inner),
                None => self.invalid(&pair),
            },
            Rule::or_expr | Rule::and_expr | Rule::comparison | Rule::sum | Rule::product => self.chain(pair, span),
            Rule::range => self.range(pair, span),
            Rule::unary => self.unary(pair, span),
            Rule::pipe => self.pipe(pair, span),
            Rule::postfix => self.postfix(pair),
            _ => self.primary(pair),
        }
    }

    /// `a + b - c`
    fn chain(&mut self, pair: Pair<'_, Rule>, span: Span) -> Expr {
        let mut inner = children(pair.clone());
        let Some(first) = inner.next().map(|operand| self.expr(operand)) else { return self.invalid(&pair) };
        let mut rest = vec![];
        while let (Some(sign), Some(operand)) = (inner.next(), inner.next()) {
            if let Some(operator) = operator(sign.as_str().trim()) {
                rest.push((operator, self.expr(operand)));
            }
        }
        if rest.is_empty() {
            return first;
        }
        Expr { kind: ExprKind::Chain { first: Box::new(first), rest }, span }
    }

    /// `0..depth`
    fn range(&mut self, pair: Pair<'_, Rule>, span: Span) -> Expr {
        let mut ends = children(pair.clone());
        match (ends.next(), ends.next()) {
            (Some(start), Some(end)) => {
                let (start, end) = (Box::new(self.expr(start)), Box::new(self.expr(end)));
                Expr { kind: ExprKind::Range { start, end }, span }
            }
            (Some(only), None) => self.expr(only),
            _ => self.invalid(&pair),
        }
    }

    /// `-x`, `!flag`
    fn unary(&mut self, pair: Pair<'_, Rule>, span: Span) -> Expr {
        let mut operators = vec![];
        let mut operand = self.invalid(&pair);
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::unary_op if inner.as_str().starts_with('-') => operators.push(UnaryOperator::Negate),
                Rule::unary_op => operators.push(UnaryOperator::Not),
                _ => operand = self.expr(inner),
            }
        }
        if operators.is_empty() {
            return operand;
        }
        Expr { kind: ExprKind::Unary { operators, operand: Box::new(operand) }, span }
    }

    /// `x -> f() -> g()`
    fn pipe(&mut self, pair: Pair<'_, Rule>, span: Span) -> Expr {
        let mut parts = children(pair.clone()).map(|inner| self.expr(inner));
        let Some(head) = parts.next() else { return self.invalid(&pair) };
        let stages: Vec<Expr> = parts.collect();
        if stages.is_empty() {
            return head;
        }
        Expr { kind: ExprKind::Pipe { head: Box::new(head), stages }, span }
    }

    /// A primary with calls, indices and a label behind it
    fn postfix(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let start = self.span(&pair);
        let mut inner = children(pair.clone());
        let Some(mut expr) = inner.next().map(|primary| self.expr(primary)) else { return self.invalid(&pair) };
        for part in inner {
            let span = start.to(self.span(&part));
            let span = Span { end: self.span(&part).end, ..span };
            let base = Box::new(expr);
            let kind = match part.as_rule() {
                Rule::arguments => ExprKind::Call { callee: base, arguments: self.arguments(part) },
                Rule::bad_arguments | Rule::bad_index => {
                    self.bad_brackets(&part);
                    ExprKind::Invalid
                }
                Rule::index => {
                    let indices = children(part).map(|index| self.expr(index)).collect();
                    ExprKind::Index { base, indices }
                }
                _ => ExprKind::Labelled { inner: base, label: self.label(part) },
            };
            expr = Expr { kind, span };
        }
        expr
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::primary => {
                return match children(pair.clone()).next() {
                    Some(inner) => self.primary(inner),
                    None => self.invalid(&pair),
                };
            }
            Rule::number => self.number(&pair),
            Rule::text => ExprKind::Text(self.text_value(&pair)),
            Rule::boolean => ExprKind::Bool(pair.as_str() == "true"),
            Rule::name => ExprKind::Name(Arc::from(pair.as_str())),
            Rule::list => ExprKind::List(children(pair).map(|item| self.expr(item)).collect()),
            Rule::tuple => return self.tuple(pair, span),
            Rule::if_expr => self.if_expr(pair),
            Rule::residual => {
                let mut inner = children(pair);
                let arguments = self.optional_arguments(&mut inner);
                ExprKind::Residual { arguments, body: Arc::new(self.stage_body(inner, span)) }
            }
            Rule::bad_list | Rule::bad_tuple => {
                self.bad_brackets(&pair);
                ExprKind::Invalid
            }
            Rule::stage_body => ExprKind::Stage(Arc::new(self.stage_body(children(pair), span))),
            _ => ExprKind::Invalid,
        };
        Expr { kind, span }
    }

    /// `(a + b)` groups; `(a, b)` and `(a,)` are tuples
    fn tuple(&mut self, pair: Pair<'_, Rule>, span: Span) -> Expr {
        let mut items = vec![];
        let mut is_tuple = false;
        for inner in children(pair) {
            if inner.as_rule() == Rule::trailing_comma {
                is_tuple = true;
            } else {
                items.push(self.expr(inner));
            }
        }
        if items.len() == 1
            && !is_tuple
            && let Some(only) = items.pop()
        {
            // The place includes the parentheses, so that labels and messages point at what was written.
            return Expr { span, ..only };
        }
        Expr { kind: ExprKind::Tuple(items), span }
    }

    /// `if a { .. } else if b { .. } else { .. }`
    fn if_expr(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut branches = vec![];
        let mut otherwise = None;
        let mut condition = None;
        for inner in children(pair) {
            match inner.as_rule() {
                Rule::expr => condition = Some(self.expr(inner)),
                Rule::body => branches.extend(condition.take().map(|c| (c, self.body(inner)))),
                Rule::else_if => {
                    let mut parts = children(inner);
                    if let (Some(c), Some(b)) = (parts.next(), parts.next()) {
                        branches.push((self.expr(c), self.body(b)));
                    }
                }
                Rule::else_body => {
                    otherwise = children(inner).find(|p| p.as_rule() == Rule::body).map(|b| self.body(b));
                }
                _ => {}
            }
        }
        ExprKind::If(Box::new(If { branches, otherwise }))
    }

    fn number(&mut self, pair: &Pair<'_, Rule>) -> ExprKind {
        let text = pair.as_str().replace('_', "");
        let is_float = text.contains(['.', 'e', 'E']);
        let parsed = if is_float {
            text.parse().ok().filter(|value: &f64| value.is_finite()).map(ExprKind::Float)
        } else {
            text.parse().ok().map(ExprKind::Int)
        };
        parsed.unwrap_or_else(|| {
            let problem = Diagnostic::error("syntax/number", format!("the number {text} is too large"))
                .label(self.span(pair), "does not fit into 64 bits");
            self.report(problem);
            ExprKind::Invalid
        })
    }

    /// The characters between the quotes, escapes resolved
    pub(super) fn text_value(&self, pair: &Pair<'_, Rule>) -> Arc<str> {
        let inner = pair.as_str().trim().trim_start_matches('"');
        let inner = inner.strip_suffix('"').unwrap_or(inner);
        let mut value = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(other) => value.push(other),
                    None => {}
                },
                _ => value.push(c),
            }
        }
        Arc::from(value)
    }

    /// Brackets that hold something else than they should.
    fn bad_brackets(&mut self, pair: &Pair<'_, Rule>) {
        let rule = match pair.as_rule() {
            Rule::bad_arguments => Rule::lone_arguments,
            Rule::bad_index => Rule::lone_index,
            Rule::bad_list => Rule::lone_list,
            _ => Rule::lone_tuple,
        };
        let problem = explain::strict(self.source, self.file, pair.as_span().start(), pair.as_str(), rule);
        self.report(problem);
    }

    /// Arguments where they may be left out. Of those that cannot be read there are none.
    pub(super) fn optional_arguments(&mut self, pairs: &mut Children<'_>) -> Vec<Argument> {
        if let Some(pair) = take(pairs, Rule::bad_arguments) {
            self.bad_brackets(&pair);
        }
        take(pairs, Rule::arguments).map(|pair| self.arguments(pair)).unwrap_or_default()
    }

    /// `(a, name: b)`
    pub(super) fn arguments(&mut self, pair: Pair<'_, Rule>) -> Vec<Argument> {
        let mut arguments = vec![];
        for argument in children(pair) {
            let mut parts = children(argument);
            let name = take(&mut parts, Rule::argument_name).map(|pair| self.name(&pair));
            if let Some(value) = parts.next() {
                arguments.push(Argument { name, value: self.expr(value) });
            }
        }
        arguments
    }

    /// `@blocks.{i}.attn`, `@.`
    pub(super) fn label(&mut self, pair: Pair<'_, Rule>) -> ParameterPath {
        let span = self.span(&pair);
        let mut segments = vec![];
        for part in children(pair).filter(|part| part.as_rule() == Rule::label_part) {
            let mut segment = vec![];
            for piece in children(part) {
                match piece.as_rule() {
                    Rule::label_text => segment.push(PathPart::Text(Arc::from(piece.as_str()))),
                    _ => {
                        if let Some(expr) = children(piece).next() {
                            segment.push(PathPart::Expr(self.expr(expr)));
                        }
                    }
                }
            }
            segments.push(segment);
        }
        ParameterPath { segments, span }
    }
}

fn operator(sign: &str) -> Option<Operator> {
    Some(match sign {
        "||" => Operator::Or,
        "&&" => Operator::And,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<=" => Operator::LessOrEqual,
        ">=" => Operator::GreaterOrEqual,
        "<" => Operator::Less,
        ">" => Operator::Greater,
        "+" => Operator::Add,
        "-" => Operator::Subtract,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        "%" => Operator::Remainder,
        _ => return None,
    })
}
