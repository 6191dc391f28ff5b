//! How a model is trained.

use crate::error::RunError;
use archc_compiler::analysis::precision::Format;
use serde::{Deserialize, Serialize};

/// Everything that decides what training does, besides the model and its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Updates of the parameters.
    pub steps: u64,
    /// Samples in one pass.
    pub batch: usize,
    /// Passes whose gradients are averaged for one update.
    pub accumulate: usize,
    /// Learning rate after the warm-up.
    pub rate: f64,
    /// Updates over which the rate grows from zero.
    pub warmup: u64,
    /// What is left of the rate at the end, along a cosine; 1 keeps it.
    pub final_rate: f64,
    /// Decay of the running means of gradients and of their squares.
    pub betas: (f64, f64),
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Pulls weights of matrices and convolutions to zero; norms, biases and tables of positions are left alone.
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    pub clip: Option<f64>,
    /// Decay of the average of parameters that samples are drawn with; it grows to this from 0.1 in the first updates.
    pub ema: f64,
    pub seed: u64,
    pub precision: Precision,
    /// Parts of the network that are run again on the way back, instead of keeping what they computed; 1 keeps all.
    pub segments: usize,
    /// Moments of blocks are measured every so many updates; 0 never does.
    pub watch_every: u64,
}

/// What training computes with. Parameters and their averages are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    F32,
    /// Matrix products and convolutions take bf16.
    Bf16,
    /// Every value and every gradient is rounded to a format, sums inside of operators aside: what a network goes through
    /// that runs in it altogether. For experiments.
    Throughout(Format),
    /// The same but for what the analysis of precision would keep in f32.
    Islands(Format),
}

impl Default for Recipe {
    /// AdamW with the defaults of PyTorch, but for the decay of the weights, which denoisers do without.
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch: 64,
            accumulate: 1,
            rate: 1e-4,
            warmup: 100,
            final_rate: 0.0,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            clip: Some(1.0),
            ema: 0.999,
            seed: 0,
            precision: Precision::F32,
            segments: 1,
            watch_every: 100,
        }
    }
}

impl Recipe {
    /// Whether its numbers make sense.
    pub fn validate(&self) -> Result<(), RunError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let checks = [
            ("steps", self.steps > 0, "at least 1"),
            ("batch", self.batch > 0, "at least 1"),
            ("accumulate", self.accumulate > 0, "at least 1"),
            ("lr", positive(self.rate), "a positive number"),
            ("final-lr", (0.0..=1.0).contains(&self.final_rate), "from 0 to 1"),
            ("beta1", (0.0..1.0).contains(&self.betas.0), "from 0 to below 1"),
            ("beta2", (0.0..1.0).contains(&self.betas.1), "from 0 to below 1"),
            ("weight-decay", self.weight_decay.is_finite() && self.weight_decay >= 0.0, "not below zero"),
            ("clip", self.clip.is_none_or(positive), "a positive number"),
            ("ema", (0.0..1.0).contains(&self.ema), "from 0 to below 1"),
            ("checkpoint-segments", self.segments > 0, "at least 1"),
        ];
        match checks.iter().find(|(_, holds, _)| !holds) {
            Some((name, _, expected)) => Err(RunError::Unsupported(format!("`{name}` has to be {expected}"))),
            None => Ok(()),
        }
    }

    /// The learning rate of an update, counted from 0.
    pub fn rate_at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / self.warmup as f64;
        }
        let rest = self.steps.saturating_sub(self.warmup).max(1);
        let done = (step - self.warmup) as f64 / rest as f64;
        let cosine = f64::midpoint(1.0, (std::f64::consts::PI * done.min(1.0)).cos());
        self.rate * (self.final_rate + (1.0 - self.final_rate) * cosine)
    }

    /// The decay of the average of parameters at an update, counted from 0.
    pub fn ema_at(&self, step: u64) -> f64 {
        self.ema.min((1 + step) as f64 / (10 + step) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::Recipe;

    #[test]
    fn the_rate_warms_up_and_falls_along_a_cosine() {
        let recipe = Recipe { steps: 110, warmup: 10, rate: 2.0, final_rate: 0.1, ..Recipe::default() };
        assert!((recipe.rate_at(0) - 0.2).abs() < 1e-12);
        assert!((recipe.rate_at(9) - 2.0).abs() < 1e-12);
        assert!((recipe.rate_at(10) - 2.0).abs() < 1e-12);
        assert!((recipe.rate_at(60) - 1.1).abs() < 1e-12);
        assert!((recipe.rate_at(110) - 0.2).abs() < 1e-12);
        let kept = Recipe { final_rate: 1.0, ..recipe };
        assert!((kept.rate_at(100) - 2.0).abs() < 1e-12);
    }
}
