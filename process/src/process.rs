//! The training process of a model, as its spec declares it.

use crate::ranges::{not_negative, positive};
use crate::{Level, Precondition, Prediction, ProcessError, Schedule, Times, Weighting};
use serde::{Deserialize, Serialize};

/// How noise is added to a model's data, and what the model predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Which levels of noise there are.
    pub schedule: Schedule,
    /// What the output stands for.
    pub prediction: Prediction,
    /// What stands around the network.
    pub precondition: Precondition,
    /// How much each level of noise counts.
    pub weighting: Weighting,
    /// How much the squared error of each channel counts, on top of the weighting; all alike where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_weights: Vec<f64>,
    /// Which levels of noise are trained on.
    pub times: Times,
    /// The variance of reverse steps.
    pub variance: Variance,
    /// Standard deviation of the data, if it is declared.
    pub data_std: Option<f64>,
}

/// The variance of the reverse steps of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variance {
    /// That of the posterior, a lower bound (Ho et al. 2020, section 3.2).
    FixedSmall,
    /// That of the step, an upper bound.
    FixedLarge,
    /// Between the two, where a second half of the output says (Nichol & Dhariwal 2021, equation 15).
    LearnedRange,
}

impl Variance {
    /// Names in a spec.
    pub const NAMES: [&'static str; 3] = ["fixed_small", "fixed_large", "learned_range"];

    /// The variance with a name.
    pub fn named(name: &str) -> Result<Self, ProcessError> {
        match name {
            "fixed_small" => Ok(Self::FixedSmall),
            "fixed_large" => Ok(Self::FixedLarge),
            "learned_range" => Ok(Self::LearnedRange),
            other => {
                Err(ProcessError::Unknown { what: "variance", name: other.to_owned(), known: Self::NAMES.to_vec() })
            }
        }
    }

    /// Its name in a spec.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FixedSmall => "fixed_small",
            Self::FixedLarge => "fixed_large",
            Self::LearnedRange => "learned_range",
        }
    }
}

impl Process {
    /// What a spec declares that says the least: no preconditioning, all levels of noise alike.
    #[must_use]
    pub fn of(schedule: Schedule, prediction: Prediction) -> Self {
        Self {
            schedule,
            prediction,
            precondition: Precondition::None,
            weighting: Weighting::Uniform,
            channel_weights: vec![],
            times: Times::Uniform,
            variance: Variance::FixedSmall,
            data_std: None,
        }
    }

    /// Whether its numbers make sense.
    pub fn validate(&self) -> Result<(), ProcessError> {
        self.schedule.validate()?;
        self.precondition.validate()?;
        self.weighting.validate()?;
        self.times.validate()?;
        let contradiction = |text: &str| Err(ProcessError::Contradiction(text.to_owned()));
        match (self.times, self.schedule) {
            (Times::LogNormal { .. }, Schedule::Steps { .. } | Schedule::Flow { .. }) => {
                return contradiction("`log_normal` draws deviations of the noise, for the schedules `edm` and `ve`");
            }
            (Times::LogitNormal { .. }, Schedule::Steps { .. } | Schedule::Ve { .. } | Schedule::Edm { .. }) => {
                return contradiction("`logit_normal` draws points of a straight line, for the schedule `flow`");
            }
            (Times::Uniform, _) | (Times::LogNormal { .. }, _) | (Times::LogitNormal { .. }, _) => {}
        }
        if let Some(std) = self.data_std {
            positive("data_std", std)?;
        }
        for weight in &self.channel_weights {
            not_negative("channel_weights", *weight)?;
        }
        if !self.channel_weights.is_empty() && self.channel_weights.iter().all(|weight| *weight == 0.0) {
            return contradiction("`channel_weights` are all zero: nothing would be trained");
        }
        Ok(())
    }

    /// Whether the noisiest level holds no signal at all.
    pub fn reaches_zero_snr(&self) -> Result<bool, ProcessError> {
        Ok(self.noisiest()?.signal == 0.0)
    }

    /// The noisiest level.
    pub fn noisiest(&self) -> Result<Level, ProcessError> {
        let levels = self.schedule.levels(2)?;
        levels.last().copied().ok_or(ProcessError::TooFewSteps { what: "a schedule", least: 1, steps: 0 })
    }
}
