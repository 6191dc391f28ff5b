//! Stages of pipes as they are written: what stands in front of them and behind them, and how to take them out.

use super::Context;
use archc_grammar::ast::{Expr, ExprKind, StageBody, StatementKind};
use archc_grammar::{Edit, Span};

/// A stage of a pipe, `-> linear(64) @proj`, or one that is all of a branch.
pub(crate) struct Stage {
    /// With its label.
    span: Span,
    /// What stands in front of it in the same pipe.
    previous: Option<Span>,
}

impl Stage {
    /// Puts another stage in front of it.
    pub fn before(&self, stage: &str) -> Edit {
        Edit::new(Span { end: self.span.start, ..self.span }, format!("{stage} -> "))
    }

    /// Puts another stage behind it.
    pub fn after(&self, stage: &str) -> Edit {
        Edit::new(self.span.after(), format!(" -> {stage}"))
    }

    /// Puts text on both sides of it.
    pub fn around(&self, before: &str, behind: &str) -> Vec<Edit> {
        vec![Edit::new(Span { end: self.span.start, ..self.span }, before), Edit::new(self.span.after(), behind)]
    }

    /// Takes it out of its pipe.
    pub fn removed(&self) -> Option<Edit> {
        let previous = self.previous?;
        Some(Edit::new(Span { start: previous.end, ..self.span }, ""))
    }
}

impl Context<'_> {
    /// The stage that stands at a place: its call, without its label.
    pub fn stage(&self, span: Span) -> Option<Stage> {
        let definition = self.definition(span)?;
        let mut around = vec![];
        let outermost = definition.body.expressions();
        let mut at = outermost.into_iter().find(|expr| holds(expr, span))?;
        while at.span != span || matches!(at.kind, ExprKind::Labelled { .. }) {
            around.push(at);
            at = at.children().into_iter().find(|child| holds(child, span))?;
        }
        let mut span = at.span;
        while let Some(expr) = around.pop() {
            if let ExprKind::Labelled { .. } = &expr.kind {
                (span, at) = (expr.span, expr);
                continue;
            }
            let ExprKind::Pipe { head, stages } = &expr.kind else {
                return starts_a_branch(expr, at).then_some(Stage { span, previous: None });
            };
            if head.span == span {
                return starts_a_branch(around.last()?, expr).then_some(Stage { span, previous: None });
            }
            let parts = std::iter::once(&**head).chain(stages);
            let previous = parts.take_while(|part| part.span != span).last().map(|part| part.span);
            return Some(Stage { span, previous });
        }
        None
    }
}

fn holds(expr: &Expr, span: Span) -> bool {
    expr.span.start <= span.start && span.end <= expr.span.end
}

/// Whether an expression is what a branch without a name for its input consists of.
fn starts_a_branch(around: &Expr, inner: &Expr) -> bool {
    let starts = |body: &StageBody| {
        let only = body.body.statements.as_slice();
        body.input.is_none()
            && matches!(only, [only] if matches!(&only.kind, StatementKind::Expr(expr) if expr == inner))
    };
    matches!(&around.kind, ExprKind::Residual { body, .. } | ExprKind::Stage(body) if starts(body))
}
