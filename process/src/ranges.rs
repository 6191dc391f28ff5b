//! Checks of single numbers.

use crate::ProcessError;

/// Most steps a chain may have.
pub(crate) const MOST_STEPS: usize = 1_000_000;

/// `value` if it is finite and above zero.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<f64, ProcessError> {
    within(name, value, value.is_finite() && value > 0.0, "a positive number")
}

/// `value` if it is finite and not below zero.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<f64, ProcessError> {
    within(name, value, value.is_finite() && value >= 0.0, "zero or a positive number")
}

/// `value` if it is finite.
pub(crate) fn finite(name: &'static str, value: f64) -> Result<f64, ProcessError> {
    within(name, value, value.is_finite(), "a finite number")
}

/// `value` if it is from 0 to 1.
pub(crate) fn fraction(name: &'static str, value: f64) -> Result<f64, ProcessError> {
    within(name, value, (0.0..=1.0).contains(&value), "from 0 to 1")
}

/// Two finite positive numbers in ascending order.
pub(crate) fn ascending(
    (low, low_value): (&'static str, f64),
    (high, high_value): (&'static str, f64),
) -> Result<(), ProcessError> {
    positive(low, low_value)?;
    positive(high, high_value)?;
    if low_value < high_value { Ok(()) } else { Err(ProcessError::Order { low, low_value, high, high_value }) }
}

/// `value` if `holds`.
pub(crate) fn within(name: &'static str, value: f64, holds: bool, expected: &'static str) -> Result<f64, ProcessError> {
    if holds { Ok(value) } else { Err(ProcessError::OutOfRange { name, value, expected }) }
}

/// The number of steps, if a chain may have as many.
pub(crate) fn steps(what: &'static str, steps: usize, least: usize) -> Result<usize, ProcessError> {
    if steps < least {
        return Err(ProcessError::TooFewSteps { what, least, steps });
    }
    if steps > MOST_STEPS {
        return Err(ProcessError::TooManySteps { asked: steps, available: MOST_STEPS });
    }
    Ok(steps)
}
