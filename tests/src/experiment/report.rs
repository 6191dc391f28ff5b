//! Outcomes as the table of `tests/evidence/report.md`.

use super::outcome::{Effect, Expect, Outcome};
use std::fmt::Write;

/// The report of all outcomes, each from so many seeds.
pub fn report(outcomes: &[Outcome<'_>], seeds: u64) -> String {
    let count = |holds: &dyn Fn(&Outcome<'_>) -> bool| outcomes.iter().filter(|own| holds(own)).count();
    let confirmed = count(&|own| own.is_confirmed());
    let (worse, better) = (count(&|own| own.effect() == Effect::Worse), count(&|own| own.effect() == Effect::Better));
    let all = outcomes.len();
    let mut text = format!(
        "# Does a warning mean trouble?\n\n\
         <!-- Written by `evidence`: cargo build --workspace && target/debug/evidence -->\n\n\
         Small networks that a rule finds fault with, trained beside their repairs on 1797 images of digits, 8 x 8, with {seeds}\n\
         seeds each. What is measured, the direction and the least factor stand in `cases`, and were chosen before anything\n\
         was trained, but for the cases that are marked as revised below. A prediction is confirmed if every seed reaches the factor. Beside it stands what became of the loss over\n\
         the last tenth of the updates: worse or better where every seed agrees by more than 3 %. Figures are means and\n\
         standard deviations over the seeds. Networks this small and runs this short say nothing about the size of an effect\n\
         elsewhere.\n\n\
         {confirmed} of {all} predictions are confirmed; {worse} of {all} flagged networks learn worse than their repairs, {better} \
         better.\n\n\
         ![Losses](losses.svg)\n\n\
         | rule | measured | expected | flagged | fixed | confirmed | loss, flagged | loss, fixed | it learns |\n\
         |---|---|---|--:|--:|---|--:|--:|---|\n"
    );
    for own in outcomes {
        let expect = match own.case.expect {
            Expect::Larger(factor) => format!("{factor} x larger"),
            Expect::Smaller(factor) => format!("{factor} x smaller"),
        };
        let confirmed = if own.is_confirmed() { "yes" } else { "**no**" };
        let effect = match own.effect() {
            Effect::Worse => "worse",
            Effect::Better => "better",
            Effect::None => "alike",
            Effect::Incomparable => "(other loss)",
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {expect} | {} | {} | {confirmed} | {} | {} | {effect} |",
            own.case.title(),
            own.case.metric,
            summary(&own.metric.flagged),
            summary(&own.metric.fixed),
            summary(&own.loss.flagged),
            summary(&own.loss.fixed),
        );
    }
    text.push_str("\nWhat each rule predicts:\n\n");
    for own in outcomes {
        let _ = writeln!(text, "* `{}`: {}.", own.case.title(), own.case.predicts);
    }
    let revised: Vec<_> = outcomes.iter().filter_map(|own| Some((own, own.case.revised.as_ref()?))).collect();
    if !revised.is_empty() {
        text.push_str("\nRevised after a first outcome was known:\n\n");
    }
    for (own, why) in revised {
        let _ = writeln!(text, "* `{}`: {why}.", own.case.title());
    }
    text
}

/// Mean and standard deviation; how many diverged, if any did.
fn summary(values: &[f64]) -> String {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let diverged = values.len() - finite.len();
    if diverged > 0 {
        return format!("diverged {diverged} of {}", values.len());
    }
    let count = finite.len().max(1) as f64;
    let mean = finite.iter().sum::<f64>() / count;
    let squares: f64 = finite.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{} ± {}", digits(mean), digits((squares / (count - 1.0).max(1.0)).sqrt()))
}

/// Three digits.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e4).contains(&size) => format!("{value:.1e}"),
        size => format!("{value:.*}", (2 - size.log10().floor() as i32).max(0) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::{digits, summary};

    #[test]
    fn figures_have_three_digits() {
        let shown: Vec<String> = [0.0, 0.01234, 1.234, 123.4, 5e-9, 1.7e30].map(digits).to_vec();
        assert_eq!(shown, ["0", "0.0123", "1.23", "123", "5.0e-9", "1.7e30"]);
        assert_eq!(summary(&[1.0, 2.0, 3.0]), "2.00 ± 1.00");
        assert_eq!(summary(&[1.0, f64::INFINITY]), "diverged 1 of 2");
    }
}
