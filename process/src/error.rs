//! What can be wrong with a process.

/// Why a process cannot be built or walked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProcessError {
    /// A schedule or a sampler without steps.
    #[error("{what} needs at least {least} step{}, and has {steps}", if *least == 1 { "" } else { "s" })]
    TooFewSteps {
        /// What has the steps.
        what: &'static str,
        /// Steps it needs.
        least: usize,
        /// Steps it has.
        steps: usize,
    },
    /// More steps than the schedule has, or than fit in memory.
    #[error("{asked} steps, but there are at most {available}")]
    TooManySteps {
        /// Steps asked for.
        asked: usize,
        /// Steps there are.
        available: usize,
    },
    /// A number outside of its range.
    #[error("`{name}` is {value}, but has to be {expected}")]
    OutOfRange {
        /// The number's name in a spec.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Two numbers in the wrong order.
    #[error("`{low}` is {low_value} and `{high}` is {high_value}, but `{low}` has to be the smaller one")]
    Order {
        /// Name of the number that has to be the smaller one.
        low: &'static str,
        /// Its value.
        low_value: f64,
        /// Name of the number that has to be the larger one.
        high: &'static str,
        /// Its value.
        high_value: f64,
    },
    /// A name that nothing has.
    #[error("no {what} is called `{name}`: there are {}", known.join(", "))]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
        /// Names there are.
        known: Vec<&'static str>,
    },
    /// A prediction of the noise where a noisy value is nothing but noise.
    #[error("a prediction of the noise says nothing about the data where no signal is left")]
    NoSignal,
    /// Where there is no noise, its direction is not known from the data.
    #[error("the direction of the noise is not known where there is none")]
    NoNoise,
    /// No signal is left at a step that is not the last.
    #[error("no signal is left after step {step} of {steps}")]
    SignalLost {
        /// First step without signal.
        step: usize,
        /// Steps of the chain.
        steps: usize,
    },
    /// Steps to keep that are not an ascending part of the chain.
    #[error("steps to keep have to ascend and lie below {available}")]
    Unordered {
        /// Steps there are.
        available: usize,
    },
    /// A step outside of a plan.
    #[error("there is no step {step} among {steps}")]
    NoSuchStep {
        /// The step.
        step: usize,
        /// Steps there are.
        steps: usize,
    },
    /// A learned variance that the network does not give.
    #[error("the variance is learned, but the network gives none")]
    NoVariance,
    /// Parts of a process that contradict each other.
    #[error("{0}")]
    Contradiction(String),
}
