//! The statement that pipelines have of their own, as it is written.

use archc_grammar::Span;
use archc_grammar::ast::{Argument, Expr, ExprKind, ParameterPath};

/// `denoise(sd15_unet, encoder_hidden_states: text, steps: 50) @unet`, alone or behind what another one leaves:
/// `latents -> denoise(..) @refiner.unet`.
pub(crate) struct Denoise<'a> {
    pub before: Option<&'a Expr>,
    pub arguments: &'a [Argument],
    pub label: Option<&'a ParameterPath>,
    pub span: Span,
}

/// The word that is called.
pub(crate) const DENOISE: &str = "denoise";

impl<'a> Denoise<'a> {
    pub fn of(value: &'a Expr) -> Option<Self> {
        let (before, call) = match &value.kind {
            ExprKind::Pipe { head, stages } => match stages.as_slice() {
                [only] => (Some(&**head), only),
                _ => return None,
            },
            _ => (None, value),
        };
        let (call, label) = match &call.kind {
            ExprKind::Labelled { inner, label } => (&**inner, Some(label)),
            _ => (call, None),
        };
        match &call.kind {
            ExprKind::Call { callee, arguments } if matches!(&callee.kind, ExprKind::Name(name) if **name == *DENOISE) => {
                Some(Self { before, arguments, label, span: value.span })
            }
            _ => None,
        }
    }
}
