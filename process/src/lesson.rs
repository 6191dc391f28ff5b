//! What a network is trained on: one draw of the process.

use crate::ranges::within;
use crate::schedule::{self, shifted};
use crate::{Chain, Level, Precondition, Process, ProcessError, Scale, Schedule, Times, Variance};

/// A level of noise with what the network is given there, and what it should say. `x0` is the data, `n` unit normal noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    /// Signal and noise of the noisy value.
    pub level: Level,
    /// What the network is told about the noise.
    pub told: f64,
    /// `(p, q)`: the network is given `p · x0 + q · n`.
    pub input: (f64, f64),
    /// `(p, q)`: its output should be `p · x0 + q · n`.
    pub target: (f64, f64),
    /// An error of its output as one of the data; infinite where the output says nothing about them.
    pub data: f64,
    /// Weight of the squared error of its output.
    pub weight: f64,
    /// What a learned variance is trained by, where the process has one.
    pub variance: Option<VarianceLesson>,
}

/// The terms of the variational bound of one step, where the mean is held fixed (Nichol & Dhariwal 2021, section 3.1).
///
/// With `e²` the squared error of the network's output, the divergence of the reverse step from the posterior is, per
/// element, `(log_variance - lower - 1 + exp(lower - log_variance) + mean · e² · exp(-log_variance)) / 2` nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VarianceLesson {
    /// Logarithm of the posterior's variance, the lower bound.
    pub lower: f64,
    /// Logarithm of the step's variance, the upper bound.
    pub upper: f64,
    /// An error of the output as a squared error of the posterior's mean.
    pub mean: f64,
}

/// Draws lessons of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Lessons {
    process: Process,
    chain: Option<Chain>,
}

impl Lessons {
    /// Of a process whose numbers make sense.
    pub fn of(process: &Process) -> Result<Self, ProcessError> {
        process.validate()?;
        let chain = match process.schedule {
            Schedule::Steps { .. } => Some(process.schedule.chain()?),
            Schedule::Ve { .. } | Schedule::Edm { .. } | Schedule::Flow { .. } => None,
        };
        Ok(Self { process: process.clone(), chain })
    }

    /// Whether a lesson is drawn by a unit normal number; otherwise by one that is uniform from 0 to 1.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.process.times.is_normal()
    }

    /// The lesson that a random number draws.
    pub fn drawn(&self, random: f64) -> Result<Lesson, ProcessError> {
        let drawn = self.process.times.drawn(random)?;
        match (&self.chain, self.process.schedule) {
            (Some(chain), _) => self.at_step(chain, Times::step(drawn, chain.len())?),
            (None, Schedule::Flow { shift, steps }) => {
                let at = shifted(drawn, shift);
                self.at(Level::flow(at), at * steps as f64)
            }
            (None, schedule) => {
                let sigma = match self.process.times {
                    Times::LogNormal { .. } => drawn,
                    Times::Uniform | Times::LogitNormal { .. } => sigma_at(schedule, drawn)?,
                };
                self.at(Level::variance_exploding(sigma), sigma)
            }
        }
    }

    fn at_step(&self, chain: &Chain, step: usize) -> Result<Lesson, ProcessError> {
        let mut lesson = self.at(chain.level(step)?, step as f64)?;
        if self.process.variance == Variance::LearnedRange {
            let posterior = chain.posterior(step)?;
            if !lesson.data.is_finite() {
                return Err(ProcessError::NoSignal);
            }
            let mean = (posterior.data * lesson.data) * (posterior.data * lesson.data);
            lesson.variance = Some(VarianceLesson { lower: posterior.log_variance, upper: posterior.log_beta, mean });
        }
        Ok(lesson)
    }

    /// The lesson at a level.
    fn at(&self, level: Level, time: f64) -> Result<Lesson, ProcessError> {
        let Process { prediction, precondition, weighting, .. } = self.process;
        let plain = |told: f64| -> Result<Lesson, ProcessError> {
            Ok(Lesson {
                level,
                told,
                input: (level.signal, level.noise),
                target: prediction.target(level),
                data: match prediction.data(level) {
                    Err(ProcessError::NoSignal) => f64::INFINITY,
                    known => known?.1,
                },
                weight: weighting.weight(prediction, level)?,
                variance: None,
            })
        };
        match precondition {
            Precondition::None => plain(time),
            Precondition::Edm { .. } => {
                let noisy = level.on(Scale::VarianceExploding)?;
                let Some(c) = precondition.at(noisy)? else { return plain(time) };
                Ok(Lesson {
                    level,
                    told: c.noise,
                    input: (c.input, c.input * noisy.noise),
                    // The data is skip · x + out · F.
                    target: ((1.0 - c.skip) / c.out, -c.skip * noisy.noise / c.out),
                    data: c.out,
                    weight: weighting.weight_inside(prediction, precondition, level)?,
                    variance: None,
                })
            }
        }
    }
}

/// A deviation from the smallest (0) to the largest (1), in the distances that the schedule has.
fn sigma_at(schedule: Schedule, at: f64) -> Result<f64, ProcessError> {
    within("a uniform draw", at, (0.0..=1.0).contains(&at), "from 0 to 1")?;
    match schedule {
        Schedule::Ve { sigma_min, sigma_max } => Ok(schedule::geometric(sigma_min, sigma_max, at)),
        Schedule::Edm { sigma_min, sigma_max, rho } => Ok(schedule::by_rho(sigma_min, sigma_max, rho, at)),
        Schedule::Steps { .. } | Schedule::Flow { .. } => {
            Err(ProcessError::Contradiction("this schedule has no deviations of added noise".to_owned()))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a process that does not hold together has to stop a test")]
mod tests {
    use super::*;
    use crate::{Curve, Prediction};

    fn process(schedule: Schedule, prediction: Prediction, precondition: Precondition) -> Process {
        Process { precondition, ..Process::of(schedule, prediction) }
    }

    /// What is taught undoes what is given: from input and target the data comes back as samplers compute it.
    #[test]
    fn a_perfect_pupil_knows_the_data() {
        let chain = Schedule::of(Curve::COSINE);
        let cases = [
            process(chain, Prediction::Eps, Precondition::None),
            process(chain, Prediction::V, Precondition::None),
            process(chain, Prediction::V, Precondition::EDM),
            process(Schedule::FLOW, Prediction::Flow, Precondition::None),
            process(Schedule::EDM, Prediction::X0, Precondition::EDM),
            process(Schedule::VE, Prediction::Eps, Precondition::None),
        ];
        let (x0, n) = (0.7, -1.3);
        for process in cases {
            for random in [0.01, 0.3, 0.6, 0.9] {
                let lesson = Lessons::of(&process).unwrap().drawn(random).unwrap();
                let output = lesson.target.0 * x0 + lesson.target.1 * n;
                let mut network = crate::Network {
                    network: |input: &f64, told: f64| {
                        assert!((input - (lesson.input.0 * x0 + lesson.input.1 * n)).abs() < 1e-12);
                        assert!((told - lesson.told).abs() < 1e-12);
                        Ok::<_, ProcessError>(crate::Output { prediction: output, variance: None })
                    },
                    scale: process.schedule.scale(),
                    prediction: process.prediction,
                    precondition: process.precondition,
                };
                let x = lesson.level.signal * x0 + lesson.level.noise * n;
                let at = crate::Point { level: lesson.level, time: lesson.told };
                let known = crate::Denoiser::denoise(&mut network, &x, at).unwrap();
                assert!((known.x0 - x0).abs() < 1e-9, "{process:?} at {random}: {}", known.x0);
                assert!((known.noise - n).abs() < 1e-9, "{process:?} at {random}: {}", known.noise);
            }
        }
    }

    /// An error of the output moves the mean of the reverse step by as much as the bound says, preconditioned or not.
    #[test]
    fn errors_of_the_output_move_the_mean() {
        for precondition in [Precondition::None, Precondition::EDM] {
            let schedule = Schedule::of(Curve::COSINE);
            let learned =
                Process { variance: Variance::LearnedRange, ..process(schedule, Prediction::V, precondition) };
            let lesson = Lessons::of(&learned).unwrap().drawn(0.5).unwrap();
            let expected = |output: f64| {
                let mut network = crate::Network {
                    network: |_: &f64, _: f64| {
                        Ok::<_, ProcessError>(crate::Output { prediction: output, variance: None })
                    },
                    scale: learned.schedule.scale(),
                    prediction: learned.prediction,
                    precondition,
                };
                let at = crate::Point { level: lesson.level, time: lesson.told };
                crate::Denoiser::denoise(&mut network, &0.4, at).unwrap().x0
            };
            let factor = schedule.chain().unwrap().posterior(500).unwrap().data;
            let moved = factor * (expected(0.3) - expected(0.1));
            let said = lesson.variance.unwrap().mean * 0.2 * 0.2;
            assert!((moved * moved / said - 1.0).abs() < 1e-9, "{moved}² is not {said}");
        }
    }

    /// The bound is zero where the reverse step is the posterior, and grows with the error of the mean.
    #[test]
    fn the_variational_bound_is_a_divergence() {
        let learned = Process {
            variance: Variance::LearnedRange,
            ..process(Schedule::of(Curve::LINEAR), Prediction::Eps, Precondition::None)
        };
        let lesson = Lessons::of(&learned).unwrap().drawn(0.5).unwrap().variance.unwrap();
        let bound = |log_variance: f64, error: f64| {
            let VarianceLesson { lower, mean, .. } = lesson;
            (log_variance - lower - 1.0 + (lower - log_variance).exp() + mean * error * (-log_variance).exp()) / 2.0
        };
        assert!(bound(lesson.lower, 0.0).abs() < 1e-15);
        assert!(bound(lesson.upper, 0.0) > 0.0);
        assert!(bound(lesson.lower, 1.0) > bound(lesson.lower, 0.5));
        assert!(lesson.lower < lesson.upper);
    }
}
