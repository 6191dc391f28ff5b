//! What is declared of the inputs of models.

use crate::analysis::moments::Moments;
use crate::analysis::signal::Statistics;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What goes into models.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Inputs {
    /// Noise levels at which images are seen. `archc predict` shows all of them; rules and `archc probe` look at the
    /// highest.
    #[schemars(length(min = 1), inner(range(min = 0.0, max = 1e6)))]
    pub sigma: Option<Vec<f64>>,
    pub data: Option<Data>,
    /// Other inputs by their name in the model, such as the text that comes from an encoder.
    pub inputs: BTreeMap<String, Feature>,
}

/// Images without noise. They are scaled as the process scales them, and so are those of a model that is told the noise
/// level.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Standard deviation, EDM's `sigma_data`.
    #[schemars(range(max = 1e6), extend("exclusiveMinimum" = 0))]
    pub std: f64,
    /// How much neighbouring pixels have in common.
    #[serde(default)]
    pub autocorrelation: Autocorrelation,
}

impl Default for Data {
    /// Those of EDM, with neighbours as photographs have them.
    fn default() -> Self {
        Self { std: 0.5, autocorrelation: Autocorrelation::default() }
    }
}

/// How much neighbouring pixels have in common: a word, or the correlation of neighbours, which falls by the same factor
/// with every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Autocorrelation {
    Word(Smoothness),
    Neighbours(#[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))] f64),
}

/// Correlations that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Smoothness {
    /// 0: every pixel for itself.
    White,
    /// 0.95, as in photographs.
    Smooth,
}

impl Default for Autocorrelation {
    fn default() -> Self {
        Self::Word(Smoothness::Smooth)
    }
}

impl Autocorrelation {
    /// Correlation of neighbouring pixels.
    pub fn of_neighbours(self) -> f64 {
        match self {
            Autocorrelation::Word(Smoothness::White) => 0.0,
            Autocorrelation::Word(Smoothness::Smooth) => 0.95,
            Autocorrelation::Neighbours(correlation) => correlation,
        }
    }
}

/// Moments of an input over all its elements.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Feature {
    #[schemars(range(min = -1e6, max = 1e6))]
    pub mean: f64,
    #[schemars(range(min = 0.0, max = 1e6))]
    pub std: f64,
    /// Correlation of the same feature in two tokens.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub correlation: f64,
}

impl Default for Feature {
    fn default() -> Self {
        Self { mean: 0.0, std: 1.0, correlation: 0.0 }
    }
}

impl Inputs {
    /// The highest noise level that is declared.
    pub fn highest(&self) -> Option<f64> {
        self.sigma.iter().flatten().copied().max_by(f64::total_cmp)
    }

    /// At a noise level, or with images that are white noise.
    pub fn at(&self, sigma: Option<f64>) -> Statistics {
        let data = self.data.unwrap_or_default();
        let images = match sigma {
            Some(sigma) => Statistics::noisy(sigma, data.std, data.autocorrelation.of_neighbours()),
            None => Statistics::default(),
        };
        let moments = |own: &Feature| Moments::in_common(own.mean, own.std * own.std, own.correlation);
        let named = self.inputs.iter().map(|(name, own)| (name.clone(), moments(own))).collect();
        Statistics { named, ..images }
    }

    /// As rules see them.
    pub fn statistics(&self) -> Statistics {
        self.at(self.highest())
    }
}
