//! Some of the steps from noise to data, where several networks share them.

use crate::error::RunError;
use archc_process::{Process, Schedule};
use std::ops::Range;

/// Shares of the way from noise, 0, to data, 1, between which steps are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub from: f64,
    pub until: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: 0.0, until: 1.0 }
    }
}

impl Window {
    /// The steps that are made, of those with these times. A share is one of the times of training, rounded to a whole
    /// one, and a step belongs to whom it begins with (diffusers, `denoising_end` and `denoising_start`).
    pub(super) fn steps(self, visited: &[Vec<f32>], process: &Process) -> Result<Range<usize>, RunError> {
        if self == Self::default() {
            return Ok(0..visited.len());
        }
        let times = match process.schedule {
            Schedule::Steps { steps, .. } | Schedule::Flow { steps, .. } => steps as f64,
            Schedule::Ve { .. } | Schedule::Edm { .. } => {
                let reason = "networks that are told a deviation of the noise cannot share its steps";
                return Err(RunError::Unsupported(reason.to_owned()));
            }
        };
        let before = |share: f64| {
            let limit = (times - share * times).round();
            let is_before = |step: &&Vec<f32>| step.first().is_some_and(|time| f64::from(*time) >= limit);
            visited.iter().take_while(is_before).count()
        };
        let first = if self.from > 0.0 { before(self.from) } else { 0 };
        let end = if self.until < 1.0 { before(self.until) } else { visited.len() };
        if first >= end {
            let (from, until, count) = (self.from, self.until, visited.len());
            let reason = format!("no step of {count} lies between {from} and {until} of the noise: take more steps");
            return Err(RunError::Unsupported(reason));
        }
        Ok(first..end)
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use archc_process::{Curve, Prediction, Process, Schedule};

    fn process(schedule: Schedule) -> Process {
        Process::of(schedule, Prediction::Eps)
    }

    #[test]
    fn two_windows_share_all_steps() {
        let visited: Vec<Vec<f32>> = [801.0, 601.0, 401.0, 201.0, 1.0].map(|time| vec![time]).to_vec();
        let process = process(Schedule::of(Curve::SCALED_LINEAR));
        let steps = |from, until| Window { from, until }.steps(&visited, &process).ok();
        assert_eq!(steps(0.0, 0.8), Some(0..4));
        assert_eq!(steps(0.8, 1.0), Some(4..5));
        assert_eq!(steps(0.0, 0.1), None);
    }
}
