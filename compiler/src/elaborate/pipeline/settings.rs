//! Settings of the sampler in a `denoise`.

use super::Cutter;
use crate::pipeline::Settings;
use archc_grammar::ast::{Expr, ExprKind, Name};

impl Cutter<'_> {
    /// Reads one setting, which is written as a number or a word.
    pub(super) fn setting(&mut self, name: &Name, value: &Expr, settings: &mut Settings) -> Option<()> {
        let wanted = match read(&name.text, value, settings) {
            Ok(()) => return Some(()),
            Err(wanted) => wanted,
        };
        self.error("pipeline/setting", format!("`{}` is {wanted}", name.text), value.span, "not that")
    }
}

/// Puts a setting in its place, or says what it should be.
fn read(name: &str, value: &Expr, settings: &mut Settings) -> Result<(), &'static str> {
    match name {
        "sampler" => settings.sampler = Some(word(value)?),
        "spacing" => settings.spacing = Some(word(value)?),
        "steps" => settings.steps = Some(whole(value).filter(|steps| *steps > 0).ok_or("a whole number above zero")?),
        "offset" => settings.offset = Some(whole(value).ok_or("a whole number")?),
        "guidance" => settings.guidance = Some(number(value)?),
        "first_guidance" => settings.first_guidance = Some(number(value)?),
        "rescale" => settings.rescale = Some(number(value)?),
        "karras" => settings.karras = Some(truth(value)?),
        "until" => settings.until = Some(share(value)?),
        "negative" => match &value.kind {
            ExprKind::Name(word) if **word == *"zero" => settings.zero_without_negative = true,
            _ => return Err("`zero`"),
        },
        _ => {}
    }
    Ok(())
}

fn word(value: &Expr) -> Result<String, &'static str> {
    match &value.kind {
        ExprKind::Name(word) => Ok(word.to_string()),
        _ => Err("a word"),
    }
}

fn truth(value: &Expr) -> Result<bool, &'static str> {
    match &value.kind {
        ExprKind::Bool(value) => Ok(*value),
        _ => Err("`true` or `false`"),
    }
}

fn whole(value: &Expr) -> Option<u64> {
    match &value.kind {
        ExprKind::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

fn number(value: &Expr) -> Result<f64, &'static str> {
    match &value.kind {
        ExprKind::Int(value) => Ok(*value as f64),
        ExprKind::Float(value) => Ok(*value),
        _ => Err("a number"),
    }
}

fn share(value: &Expr) -> Result<f64, &'static str> {
    number(value).ok().filter(|share| *share > 0.0 && *share < 1.0).ok_or("a number between 0 and 1")
}
