//! How large values of compile-time code are. Lists and stages share their parts, so that a loop of a few rounds can
//! make a value that no walk over it would ever end, or that is too deep to be dropped; such values are refused.

use super::Elaborator;
use super::value::{LabelValue, List, Stage, StageKind, Value};
use archc_grammar::Span;
use std::sync::Arc;

/// Items of a list, in all, and stages of a chain.
pub(super) const MAX_ITEMS: u64 = 1 << 20;
/// Lists in lists, and stages in stages.
const MAX_NESTING: u32 = 256;
/// Bytes of a text.
const MAX_TEXT: usize = 1 << 16;

/// How much a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Values that a walk over it comes across.
    items: u64,
    depth: u32,
}

impl Extent {
    const ONE: Extent = Extent { items: 1, depth: 0 };

    fn of(value: &Value) -> Self {
        match value {
            Value::List(list) => list.extent,
            Value::Stage(stage) => stage.extent,
            _ => Extent::ONE,
        }
    }

    /// A value with those inside.
    fn around(inner: impl Iterator<Item = Extent>) -> Self {
        inner.fold(Extent { items: 1, depth: 1 }, |sum, part| Extent {
            items: sum.items.saturating_add(part.items),
            depth: sum.depth.max(part.depth.saturating_add(1)),
        })
    }
}

impl List {
    pub fn new(items: Vec<Value>, reversed: bool) -> Self {
        let extent = Extent::around(items.iter().map(Extent::of));
        Self { items, reversed, extent }
    }
}

impl Stage {
    fn new(kind: StageKind, span: Span, label: Option<LabelValue>) -> Self {
        let values = |values: &[Option<(Value, Span)>]| {
            Extent::around(values.iter().flatten().map(|(value, _)| Extent::of(value)))
        };
        let extent = match &kind {
            StageKind::Operator { arguments, .. } | StageKind::Block { arguments, .. } => values(arguments),
            StageKind::Chunk { .. } | StageKind::Learned { .. } | StageKind::Claim { .. } | StageKind::Join { .. } => {
                Extent::ONE
            }
            StageKind::Residual { options, body } => {
                let given = [&options.scale, &options.gate, &options.shortcut, &options.after, &options.drop];
                let given = given.into_iter().flatten().map(|(value, _)| Extent::of(value));
                Extent::around(given.chain([body.extent]))
            }
            StageKind::Chain(stages) => Extent::around(stages.iter().map(|stage| stage.extent)),
            // Variables around it are shared and not walked over.
            StageKind::Body { captured, .. } => {
                let inner = captured.variables.iter().map(|(_, value)| Extent::of(value));
                Extent { items: 1, ..Extent::around(inner) }
            }
        };
        Self { kind, span, label, extent }
    }

    /// The same stage under another label.
    pub fn labelled(&self, label: Option<LabelValue>) -> Self {
        Self { label, ..self.clone() }
    }
}

impl Elaborator<'_> {
    /// A list, if it is not too large.
    pub(super) fn list(&mut self, items: Vec<Value>, span: Span) -> Value {
        self.bounded(Value::List(Arc::new(List::new(items, false))), span)
    }

    /// A stage, if it is not too large.
    pub(super) fn stage(&mut self, kind: StageKind, span: Span, label: Option<LabelValue>) -> Value {
        self.bounded(Value::Stage(Arc::new(Stage::new(kind, span, label))), span)
    }

    /// Two texts, one behind the other, if the result is not too long.
    pub(super) fn text(&mut self, first: &str, second: &str, span: Span) -> Value {
        if first.len() + second.len() > MAX_TEXT {
            return self.error("type/too-large", "this text is too long", span, "too long");
        }
        Value::Text(format!("{first}{second}").into())
    }

    fn bounded(&mut self, value: Value, span: Span) -> Value {
        let extent = Extent::of(&value);
        let what = if matches!(value, Value::List(_)) { "list" } else { "stage" };
        if extent.items > MAX_ITEMS {
            let message = format!("this {what} has more than {MAX_ITEMS} parts");
            return self.error("type/too-large", message, span, "too large");
        }
        if extent.depth > MAX_NESTING {
            let message = format!("this {what} nests deeper than {MAX_NESTING} levels");
            return self.error("type/too-large", message, span, "too deep");
        }
        value
    }
}
