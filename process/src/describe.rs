//! A process in the words of a spec.

use crate::{Curve, Precondition, Process, Schedule, Times, Weighting};
use std::fmt::{self, Display};

impl Process {
    /// Everything that is in force, by entry, as a spec would write it.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![
            ("schedule", self.schedule.to_string()),
            ("prediction", self.prediction.name().to_owned()),
            ("precondition", self.precondition.to_string()),
            ("weighting", self.weighting.to_string()),
        ];
        if !self.channel_weights.is_empty() {
            let weights: Vec<String> = self.channel_weights.iter().map(f64::to_string).collect();
            entries.push(("channel_weights", format!("[{}]", weights.join(", "))));
        }
        entries.push(("times", self.times.to_string()));
        if matches!(self.schedule, Schedule::Steps { .. }) {
            entries.push(("variance", self.variance.name().to_owned()));
        }
        entries.extend(self.data_std.map(|std| ("data_std", std.to_string())));
        entries
    }
}

impl Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { curve, steps, zero_terminal_snr } => {
                match curve {
                    Curve::Linear { start, end } => write!(f, "linear(start: {start}, end: {end}")?,
                    Curve::ScaledLinear { start, end } => write!(f, "scaled_linear(start: {start}, end: {end}")?,
                    Curve::Cosine { offset, largest } => write!(f, "cosine(offset: {offset}, largest: {largest}")?,
                }
                write!(f, ", steps: {steps}, zero_terminal_snr: {zero_terminal_snr})")
            }
            Self::Ve { sigma_min, sigma_max } => write!(f, "ve(sigma_min: {sigma_min}, sigma_max: {sigma_max})"),
            Self::Edm { sigma_min, sigma_max, rho } => {
                write!(f, "edm(sigma_min: {sigma_min}, sigma_max: {sigma_max}, rho: {rho})")
            }
            Self::Flow { shift, steps } => write!(f, "flow(shift: {shift}, steps: {steps})"),
        }
    }
}

impl Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Edm { sigma_data } => write!(f, "edm(sigma_data: {sigma_data})"),
        }
    }
}

impl Display for Weighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => write!(f, "uniform"),
            Self::MinSnr { gamma } => write!(f, "min_snr(gamma: {gamma})"),
            Self::P2 { k, gamma } => write!(f, "p2(k: {k}, gamma: {gamma})"),
            Self::Edm { sigma_data } => write!(f, "edm(sigma_data: {sigma_data})"),
            Self::SigmaSqrt => write!(f, "sigma_sqrt"),
            Self::Cosmap => write!(f, "cosmap"),
        }
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => write!(f, "uniform"),
            Self::LogNormal { mean, std } => write!(f, "log_normal(mean: {mean}, std: {std})"),
            Self::LogitNormal { mean, std } => write!(f, "logit_normal(mean: {mean}, std: {std})"),
        }
    }
}
