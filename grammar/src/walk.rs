//! What expressions and bodies are made of, one level at a time.

use crate::ast::{Body, Expr, ExprKind, Statement, StatementKind};

impl Expr {
    /// The expressions right inside of this one, in the order of the source; of bodies, those of their statements.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Text(_)
            | ExprKind::Bool(_)
            | ExprKind::Name(_)
            | ExprKind::Invalid => vec![],
            ExprKind::List(parts) | ExprKind::Tuple(parts) => parts.iter().collect(),
            ExprKind::Chain { first, rest } => {
                std::iter::once(&**first).chain(rest.iter().map(|(_, operand)| operand)).collect()
            }
            ExprKind::Unary { operand, .. } => vec![operand],
            ExprKind::Range { start, end } => vec![start, end],
            ExprKind::Pipe { head, stages } => std::iter::once(&**head).chain(stages).collect(),
            ExprKind::Call { callee, arguments } => {
                std::iter::once(&**callee).chain(arguments.iter().map(|argument| &argument.value)).collect()
            }
            ExprKind::Index { base, indices } => std::iter::once(&**base).chain(indices).collect(),
            ExprKind::Labelled { inner, .. } => vec![inner],
            ExprKind::If(own) => {
                let branches = own.branches.iter();
                let branches = branches.flat_map(|(test, body)| std::iter::once(test).chain(body.expressions()));
                branches.chain(own.otherwise.iter().flat_map(Body::expressions)).collect()
            }
            ExprKind::Residual { arguments, body } => {
                arguments.iter().map(|argument| &argument.value).chain(body.body.expressions()).collect()
            }
            ExprKind::Stage(body) => body.body.expressions(),
        }
    }
}

impl Body {
    /// The outermost expressions of all statements, those of loops and sections too, in the order of the source.
    pub fn expressions(&self) -> Vec<&Expr> {
        self.statements.iter().flat_map(Statement::expressions).collect()
    }
}

impl Statement {
    fn expressions(&self) -> Vec<&Expr> {
        match &self.kind {
            StatementKind::Let { value, .. }
            | StatementKind::Assign { value, .. }
            | StatementKind::Save { value, .. }
            | StatementKind::Expr(value) => vec![value],
            StatementKind::Skip { arguments, .. } | StatementKind::Process(arguments) => {
                arguments.iter().map(|argument| &argument.value).collect()
            }
            StatementKind::Init(rules) => rules.iter().map(|rule| &rule.value).collect(),
            StatementKind::Order(_) => vec![],
            StatementKind::For(each) => std::iter::once(&each.iterable).chain(each.body.expressions()).collect(),
            StatementKind::Section(section) => section.body.expressions(),
        }
    }
}
