//! `archc sensitivity`

use super::run::values_behind;
use super::sample::progress;
use super::train::range;
use crate::args::{ReportFormat, Sensitivity};
use crate::{Outcome, output, target};
use archc_compiler::ir::Graph;
use archc_runtime::sensitivity::{Probing, channel_weights, sensitivity};
use archc_runtime::tensors::TensorFile;
use archc_runtime::{Device, Frozen, data};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    samples: usize,
    draws: usize,
    channels: Vec<Channel>,
}

#[derive(Debug, Serialize)]
struct Channel {
    /// Mean square by which the value changes, relative to that of an error in this channel.
    gain: f64,
    /// The same with a mean of one.
    weight: f64,
}

pub fn run(options: &Sensitivity) -> Result<Outcome, String> {
    let Some((_, graph)) = target::graph(&options.target)? else { return Ok(Outcome::Findings) };
    let graph = Arc::new(graph);
    let samples = data::read_samples(&options.data, range(&options.range)?, &graph).map_err(|e| e.to_string())?;
    let shape: Vec<usize> = samples.shape.iter().skip(1).copied().collect();
    let frozen = frozen(&graph, &options.weights, options.at.as_deref(), &shape)?;
    let probing = Probing {
        samples: options.samples as usize,
        draws: options.draws as usize,
        batch: options.batch as usize,
        seed: options.seed,
    };
    let gains = measured(&frozen, &samples, &probing, options.device.into())?;
    let channels = gains.iter().zip(channel_weights(&gains)).map(|(gain, weight)| Channel { gain: *gain, weight });
    let report = Report {
        model: graph.name().to_owned(),
        samples: probing.samples.min(samples.len()),
        draws: probing.draws,
        channels: channels.collect(),
    };
    match options.format {
        ReportFormat::Json => {
            output::line(serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        }
        ReportFormat::Pretty => output::print(&text(&report)),
    }
    Ok(Outcome::Clean)
}

/// A network with its parameters, for samples of a shape.
pub fn frozen(graph: &Arc<Graph>, weights: &Path, at: Option<&str>, sample: &[usize]) -> Result<Frozen, String> {
    let at = match at.map(|path| (path, values_behind(graph, path))) {
        None => None,
        Some((path, found)) => match found?.as_slice() {
            [one] => Some(*one),
            several => return Err(format!("`{path}` of {} gives {} values: name one", graph.name(), several.len())),
        },
    };
    let parameters = TensorFile::open(weights).and_then(|file| Frozen::parameters(graph, file));
    let frozen = parameters.and_then(|parameters| Frozen::new(graph.clone(), parameters, at, sample));
    frozen.map_err(|error| error.to_string())
}

/// Measures with a bar.
pub fn measured(
    frozen: &Frozen,
    samples: &data::Samples,
    probing: &Probing,
    device: Device,
) -> Result<Vec<f64>, String> {
    let bar = progress("measuring sensitivity");
    let found = sensitivity(frozen, samples, probing, device, |done, passes| {
        bar.set_length(passes as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    found.map_err(|error| error.to_string())
}

fn text(report: &Report) -> String {
    let Report { model, samples, draws, channels } = report;
    let row =
        |(at, own): (usize, &Channel)| vec![at.to_string(), format!("{:.4e}", own.gain), format!("{:.4}", own.weight)];
    let rows: Vec<Vec<String>> = channels.iter().enumerate().map(row).collect();
    let weights: Vec<String> = channels.iter().map(|own| format!("{:.4}", own.weight)).collect();
    format!(
        "how {model} answers to errors in each channel ({samples} samples, {draws} errors in each)\n{}\n\
         in the process of what is trained on such samples:\n\n    channel_weights: [{}]\n",
        output::table(&["channel", "gain", "weight"], &rows, &[0, 1, 2]),
        weights.join(", ")
    )
}
