//! Whether what a rule predicts has been seen.

use super::case::Case;
use super::metric::last_loss;
use super::trial::Trial;
use serde::Deserialize;

/// How the flagged network compares with the fixed one, at least.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// Larger by this factor.
    Larger(f64),
    /// Smaller by this factor.
    Smaller(f64),
}

/// A number of both variants, for each seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    pub flagged: Vec<f64>,
    pub fixed: Vec<f64>,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Outcome<'c> {
    pub case: &'c Case,
    pub metric: Pairs,
    pub loss: Pairs,
}

/// Losses closer than this share of them are taken as equal.
const MARGIN: f64 = 0.03;

/// What became of the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Worse,
    Better,
    /// No difference that all seeds agree about.
    None,
    /// The variants minimise different losses.
    Incomparable,
}

impl<'c> Outcome<'c> {
    pub fn of(case: &'c Case, trials: &[Trial]) -> Result<Self, String> {
        let (mut metric, mut loss) = (Pairs::default(), Pairs::default());
        let explain = |error| format!("{}: {error}", case.rule);
        for trial in trials {
            metric.flagged.push(case.metric.of(&trial.flagged).map_err(explain)?);
            metric.fixed.push(case.metric.of(&trial.fixed).map_err(explain)?);
            loss.flagged.push(last_loss(&trial.flagged));
            loss.fixed.push(last_loss(&trial.fixed));
        }
        Ok(Self { case, metric, loss })
    }

    /// Whether the difference has the direction and reaches the factor with every seed. A repair that diverges confirms
    /// nothing.
    pub fn is_confirmed(&self) -> bool {
        self.metric.each(|flagged, fixed| match self.case.expect {
            _ if !fixed.is_finite() => false,
            Expect::Larger(factor) => flagged > 0.0 && flagged >= factor * fixed,
            Expect::Smaller(factor) => fixed > 0.0 && fixed >= factor * flagged,
        })
    }

    /// Whether the flagged network learns worse, with every seed.
    pub fn effect(&self) -> Effect {
        match () {
            () if !self.case.losses_compare => Effect::Incomparable,
            () if self.loss.each(|flagged, fixed| flagged > (1.0 + MARGIN) * fixed) => Effect::Worse,
            () if self.loss.each(|flagged, fixed| fixed > (1.0 + MARGIN) * flagged) => Effect::Better,
            () => Effect::None,
        }
    }
}

impl Pairs {
    fn each(&self, holds: impl Fn(f64, f64) -> bool) -> bool {
        self.flagged.iter().zip(&self.fixed).all(|(flagged, fixed)| holds(*flagged, *fixed))
    }
}

#[cfg(test)]
mod tests {
    use super::{Effect, Expect, Outcome, Pairs};
    use crate::experiment::all;

    #[test]
    fn every_seed_has_to_agree() {
        let mut case = all().expect("the cases can be read").remove(0);
        case.losses_compare = true;
        case.expect = Expect::Larger(2.0);
        let pairs = |flagged: [f64; 2], fixed: [f64; 2]| Pairs { flagged: flagged.into(), fixed: fixed.into() };
        let outcome = |metric, loss| Outcome { case: &case, metric, loss };
        let all_twice = outcome(pairs([2.0, 9.0], [1.0, 1.0]), pairs([1.1, 1.1], [1.0, 1.0]));
        assert!(all_twice.is_confirmed());
        assert_eq!(all_twice.effect(), Effect::Worse);
        let one_not = outcome(pairs([1.9, 9.0], [1.0, 1.0]), pairs([1.1, 1.0], [1.0, 1.0]));
        assert!(!one_not.is_confirmed());
        assert_eq!(one_not.effect(), Effect::None);
        let nothing = outcome(pairs([0.0, 0.0], [0.0, 0.0]), pairs([0.5, 0.5], [1.0, 1.0]));
        assert!(!nothing.is_confirmed(), "two zeros are no difference");
        assert_eq!(nothing.effect(), Effect::Better);
        let both = [f64::INFINITY; 2];
        assert!(!outcome(pairs(both, both), pairs(both, both)).is_confirmed(), "both diverge");
    }
}
