//! `archc train --perceptual`

use super::sensitivity::{frozen, measured};
use crate::args::{Perceptual as Options, PerceptualKind, Settings, Target};
use crate::{render, target};
use archc_compiler::ir::Graph;
use archc_process::{Prediction, Process, Schedule};
use archc_runtime::data::Samples;
use archc_runtime::sensitivity::{Probing, channel_weights};
use archc_runtime::train::{Distance, Perceptual};
use archc_runtime::{Device, Frozen};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Samples that sensitivities are measured on, and errors in each channel of them: `archc sensitivity` has the same.
const SAMPLES: usize = 64;
const DRAWS: usize = 4;

/// What a run remembers of the network, so that it goes on with the same loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub kind: PerceptualKind,
    /// What tells the network from others, with its parameters and the value that counts.
    pub network: String,
    /// Sensitivities of the channels, as they were measured when the run began.
    pub gains: Vec<f64>,
}

/// The network with how errors are measured in it.
pub struct Seen {
    pub record: Record,
    frozen: Frozen,
}

impl Seen {
    /// Reads the network, and measures its sensitivity unless a run has done so before. None where its spec does not
    /// compile, whose errors are shown.
    pub fn open(
        options: &Options,
        samples: &Samples,
        known: Option<&Record>,
        (device, batch, seed): (Device, usize, u64),
    ) -> Result<Option<Self>, String> {
        let (Some(spec), Some(weights)) = (&options.perceptual, &options.perceptual_weights) else {
            return Err("`--perceptual` needs `--perceptual-weights`".to_owned());
        };
        let settings = Settings { set: options.perceptual_set.clone(), budget: None, config: None };
        let Some((compiled, graph)) = target::graph(&Target { spec: spec.clone(), settings })? else { return Ok(None) };
        render::pretty_to_stdout(&compiled.diagnostics, &compiled.program.sources);
        let shape: Vec<usize> = samples.shape.iter().skip(1).copied().collect();
        let frozen = frozen(&Arc::new(graph), weights, options.perceptual_at.as_deref(), &shape)?;
        let network = frozen.fingerprint();
        let gains = match known.filter(|known| known.network == network) {
            Some(known) => known.gains.clone(),
            None => measured(&frozen, samples, &Probing { samples: SAMPLES, draws: DRAWS, batch, seed }, device)?,
        };
        Ok(Some(Self { record: Record { kind: options.perceptual_kind, network, gains }, frozen }))
    }

    /// What remains to be done at every update, once the process weighs the channels where that is all.
    pub fn applied(self, graph: &mut Graph) -> Result<Option<Perceptual>, String> {
        let Some(process) = graph.process.as_mut().map(|declared| &mut declared.process) else { return Ok(None) };
        if !process.channel_weights.is_empty() {
            let twice =
                "the process has `channel_weights`, and `--perceptual` weighs errors too: leave one of them out";
            return Err(twice.to_owned());
        }
        let distance = match self.record.kind {
            PerceptualKind::Static => {
                process.channel_weights = channel_weights(&self.record.gains);
                return Ok(None);
            }
            PerceptualKind::Features => {
                sees_samples(process)?;
                Distance::Features
            }
            PerceptualKind::Jvp => Distance::Jacobian,
        };
        Ok(Some(Perceptual { frozen: self.frozen, distance, gain: self.record.gains.iter().sum() }))
    }
}

/// Features are those of the denoised sample, which noise that is predicted where there is nothing but noise does not say.
fn sees_samples(process: &Process) -> Result<(), String> {
    match (process.prediction, process.schedule) {
        (Prediction::Eps, Schedule::Steps { zero_terminal_snr: true, .. }) => Err(
            "`--perceptual-kind features` compares denoised samples, and where the schedule ends without signal the \
                 predicted noise makes none: let the prediction be `v`, or measure with `jvp`"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}
