//! What is measured of a network in training.

use archc_runtime::train::{BlockMoments, Experiment};
use serde::Deserialize;
use std::fmt;

/// A number that a rule predicts to differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Mean loss over the last tenth of the updates; infinite if training broke off.
    Loss,
    /// Loss at the first update.
    FirstLoss,
    /// Norm of all gradients at the first update.
    GradientNorm,
    /// Largest norm of all gradients at any update, in units of their median.
    LargestGradient,
    /// Share of parameter tensors that are to the bit where they started.
    Unmoved,
    /// Root of the mean square by which parameters moved, of all those with this word in their path.
    Movement(String),
    /// Mean square at the end of the block of this path, at the first update.
    Activation(String),
    /// Mean square of the gradient at the end of the first of two blocks, in units of that at the second, at the first
    /// update.
    GradientRatio(String, String),
}

impl Metric {
    /// The number; the error says what there is instead.
    pub fn of(&self, found: &Experiment) -> Result<f64, String> {
        let first = |values: &[f64]| values.first().copied().unwrap_or(f64::INFINITY);
        match self {
            Metric::Loss => Ok(last_loss(found)),
            Metric::FirstLoss => Ok(first(&found.losses)),
            Metric::GradientNorm => Ok(first(&found.gradient_norms)),
            Metric::LargestGradient => Ok(largest_by_median(&found.gradient_norms)),
            Metric::Unmoved => {
                let unmoved = found.movement.values().filter(|moved| **moved == 0.0).count();
                Ok(unmoved as f64 / found.movement.len().max(1) as f64)
            }
            Metric::Movement(word) => {
                let named = |path: &str| path.split('.').any(|part| part == word);
                let moved: Vec<f64> =
                    found.movement.iter().filter(|(path, _)| named(path)).map(|(_, moved)| *moved).collect();
                if moved.is_empty() {
                    return Err(format!("no parameter has `{word}` in its path"));
                }
                Ok((moved.iter().map(|moved| moved * moved).sum::<f64>() / moved.len() as f64).sqrt())
            }
            Metric::Activation(path) => block(found, path).map(|block| block.activation),
            Metric::GradientRatio(first, second) => Ok(block(found, first)?.gradient / block(found, second)?.gradient),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Loss => f.write_str("last loss"),
            Metric::FirstLoss => f.write_str("first loss"),
            Metric::GradientNorm => f.write_str("first gradient norm"),
            Metric::LargestGradient => f.write_str("largest gradient norm by the median"),
            Metric::Unmoved => f.write_str("share of tensors that never move"),
            Metric::Movement(word) => write!(f, "movement of `{word}`"),
            Metric::Activation(path) => write!(f, "mean square after `{path}`"),
            Metric::GradientRatio(first, second) => write!(f, "gradient after `{first}` by that after `{second}`"),
        }
    }
}

fn block<'f>(found: &'f Experiment, path: &str) -> Result<&'f BlockMoments, String> {
    let known = || found.blocks.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    found.blocks.get(path).ok_or_else(|| format!("no block `{path}` among {}", known()))
}

/// Mean loss over the last tenth of the updates; infinite if training broke off.
pub fn last_loss(found: &Experiment) -> f64 {
    let count = found.losses.len();
    let last = found.losses.get(count - count.div_ceil(10)..).unwrap_or_default();
    if found.stopped.is_some() || last.is_empty() {
        return f64::INFINITY;
    }
    last.iter().sum::<f64>() / last.len() as f64
}

fn largest_by_median(norms: &[f64]) -> f64 {
    let mut sorted = norms.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.last(), sorted.get(sorted.len() / 2)) {
        (Some(largest), Some(median)) => largest / median,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::Metric;
    use archc_runtime::train::Experiment;

    #[test]
    fn training_that_breaks_off_has_no_last_loss() {
        let losses: Vec<f64> = (0..20).map(f64::from).collect();
        let whole = Experiment { losses, ..Experiment::default() };
        assert_eq!(Metric::Loss.of(&whole), Ok(18.5));
        let broken = Experiment { stopped: Some("a value".to_owned()), ..whole };
        assert_eq!(Metric::Loss.of(&broken), Ok(f64::INFINITY));
    }

    #[test]
    fn parameters_count_by_words_of_their_paths() {
        let movement = [("a.gate.weight", 3.0), ("a.gated.weight", 9.0), ("gate.bias", 0.0)];
        let movement = movement.into_iter().map(|(path, moved)| (path.to_owned(), moved)).collect();
        let found = Experiment { movement, ..Experiment::default() };
        assert_eq!(Metric::Movement("gate".to_owned()).of(&found), Ok(4.5_f64.sqrt()));
        assert_eq!(Metric::Unmoved.of(&found), Ok(1.0 / 3.0));
        assert!(Metric::Movement("scale".to_owned()).of(&found).is_err());
    }
}
