//! Which steps of a long chain a sampler visits.

use crate::ProcessError;
use crate::ranges::steps;
use crate::schedule::line;
use serde::{Deserialize, Serialize};

/// Which of the steps of a chain a sampler visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Both ends, and what lies between in equal distances.
    Linspace,
    /// From the first step on in whole strides, all moved by `offset` (Stable Diffusion has 1).
    Leading {
        /// Added to every step.
        offset: usize,
    },
    /// From the last step down in strides (Lin et al. 2024); the one that a chain without signal at its end needs.
    Trailing,
}

impl Spacing {
    /// The spacing with a name.
    pub fn named(name: &str) -> Result<Self, ProcessError> {
        match name {
            "linspace" => Ok(Self::Linspace),
            "leading" => Ok(Self::Leading { offset: 0 }),
            "trailing" => Ok(Self::Trailing),
            other => Err(ProcessError::Unknown {
                what: "spacing",
                name: other.to_owned(),
                known: vec!["linspace", "leading", "trailing"],
            }),
        }
    }

    /// `count` of `total` steps, ascending.
    pub fn steps(self, total: usize, count: usize) -> Result<Vec<usize>, ProcessError> {
        fits(total, count)?;
        let last = total - 1;
        let mut steps: Vec<usize> = match self {
            Self::Linspace if count == 1 => vec![last],
            Self::Linspace => line(0.0, last as f64, count).map(round).collect(),
            Self::Leading { offset } => (0..count).map(|index| index * (total / count) + offset).collect(),
            Self::Trailing => {
                let stride = total as f64 / count as f64;
                let back = (0..count).map(|index| round(total as f64 - index as f64 * stride).saturating_sub(1));
                back.collect::<Vec<_>>().into_iter().rev().collect()
            }
        };
        steps.dedup();
        match steps.last() {
            Some(highest) if *highest > last => Err(ProcessError::NoSuchStep { step: *highest, steps: total }),
            Some(_) | None => Ok(steps),
        }
    }

    /// Steps from equal sections of a chain, so many from each (Nichol & Dhariwal 2021, `space_timesteps`).
    pub fn sections(total: usize, counts: &[usize]) -> Result<Vec<usize>, ProcessError> {
        steps("a sampler", counts.iter().copied().fold(0, usize::saturating_add), 1)?;
        let mut kept = Vec::new();
        let mut start = 0;
        for (index, count) in counts.iter().copied().enumerate() {
            let size = total / counts.len() + usize::from(index < total % counts.len());
            if count > size {
                return Err(ProcessError::TooManySteps { asked: count, available: size });
            }
            let stride = if count < 2 { 1.0 } else { (size - 1) as f64 / (count - 1) as f64 };
            kept.extend((0..count).map(|step| start + round(step as f64 * stride)));
            start += size;
        }
        Ok(kept)
    }

    /// Steps in one whole stride that makes exactly `count` of them (`ddim25` of the same code).
    pub fn whole_stride(total: usize, count: usize) -> Result<Vec<usize>, ProcessError> {
        fits(total, count)?;
        let stride = (1..=total).find(|stride| total.div_ceil(*stride) == count);
        let none = || ProcessError::Contradiction(format!("no whole stride makes {count} of {total} steps"));
        Ok((0..total).step_by(stride.ok_or_else(none)?).collect())
    }
}

fn fits(total: usize, count: usize) -> Result<(), ProcessError> {
    steps("a schedule", total, 1)?;
    steps("a sampler", count, 1)?;
    if count > total {
        return Err(ProcessError::TooManySteps { asked: count, available: total });
    }
    Ok(())
}

/// To the nearest whole number, halves to the even one.
fn round(number: f64) -> usize {
    number.round_ties_even() as usize
}
