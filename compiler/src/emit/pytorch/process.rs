//! The process of a spec as Python: what a network is given in training, what it should say, and how much that counts.
//!
//! The formulas are those of [`archc_process::Lessons`], written out for the one process that the spec declares.

use super::Sources;
use super::numbers::float;
use crate::dim::Dim;
use crate::emit::EmitError;
use crate::ir::Graph;
use crate::types::{Axis, Kind, Type};
use archc_process::{Curve, Precondition, Prediction, Process, Schedule, Times, Variance, Weighting};

/// `process.py`, and nothing for a model that declares no process.
pub(super) fn process(graph: &Graph, sources: &Sources) -> Result<Option<String>, EmitError> {
    let (Some(declared), Some(noisy)) = (&graph.process, graph.noisy_input()) else { return Ok(None) };
    let argument = |input: &str| sources.inputs.iter().find(|(name, _)| **name == *input).map(|(_, name)| name.clone());
    let (mut times, mut label, mut conditions, mut noisy_name) = (vec![], None, vec![], None);
    for input in &graph.inputs {
        let Some(name) = argument(&input.name) else { continue };
        let ty = &graph.node(input.node).ty;
        match ty.kind {
            _ if input.node == noisy => noisy_name = Some(name),
            Kind::Timestep | Kind::Sigma => times.push(name),
            Kind::Label if label.is_none() => {
                label = Some((name, ty.dim(Axis::Class).and_then(Dim::known).unwrap_or(1)));
            }
            _ => conditions.push(name),
        }
    }
    let noisy_name = noisy_name.ok_or_else(|| EmitError("the noisy input is not used".to_owned()))?;
    let list =
        |names: &[String]| format!("[{}]", names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "));
    let (label, classes) = label.map_or(("None".to_owned(), 0), |(name, classes)| (format!("{name:?}"), classes));
    let channels = graph.node(noisy).ty.channels().unwrap_or(0);
    let process = &declared.process;
    let draws = if process.times.is_normal() { "unit normal numbers" } else { "uniform numbers from 0 to 1" };
    let normal = if process.times.is_normal() { "True" } else { "False" };
    let body =
        format!("{}\n\n\n{}\n\n\n{}", level(process, draws), lesson(process), loss(process, &graph.node(noisy).ty));
    let math = if body.contains("math.") { "import math\n" } else { "" };
    Ok(Some(format!(
        r#""""The process of {name}: what the network is given, what it should say, and how much that counts."""

{math}from typing import NamedTuple

import torch
from torch import Tensor

# Arguments of the model: what noise is added to, what tells how much, the class, and all others.
NOISY = {noisy_name:?}
TIMES = {times}
LABEL = {label}
CLASSES = {classes}
CONDITIONS = {conditions}
CHANNELS = {channels}
# Whether levels of noise are drawn by normal numbers.
NORMAL = {normal}


class Lesson(NamedTuple):
    """With x0 the data and n unit normal noise, `(p, q)` stands for p * x0 + q * n, sample by sample."""

    told: Tensor
    input: tuple[Tensor, Tensor]
    target: tuple[Tensor, Tensor]
    weight: Tensor{variance}


{body}
"#,
        name = graph.name(),
        times = list(&times),
        conditions = list(&conditions),
        variance = if learns_variance(process) { VARIANCE } else { "" },
    )))
}

fn learns_variance(process: &Process) -> bool {
    process.variance == Variance::LearnedRange
}

/// What a lesson holds besides where the variance is learned.
const VARIANCE: &str = "
    # Logarithms of the posterior's variance and of the step's, and an error of the output as a squared one of the mean.
    variance: tuple[Tensor, Tensor, Tensor]";

/// Signal, noise and time of a draw.
fn level(process: &Process, draws: &str) -> String {
    let mut lines = match process.times {
        Times::Uniform => vec![],
        Times::LogNormal { mean, std } => vec![format!("draw = torch.exp({} + {} * draw)", float(mean), float(std))],
        Times::LogitNormal { mean, std } => {
            vec![format!("draw = torch.sigmoid({} + {} * draw)", float(mean), float(std))]
        }
    };
    let mut before = String::new();
    match process.schedule {
        Schedule::Steps { curve, steps, zero_terminal_snr } => {
            before = format!("{}\n\n\n", chain(curve, steps, zero_terminal_snr));
            lines.push(format!("step = (draw * {steps}).long().clamp(max={})", steps.saturating_sub(1)));
            lines.push("kept = KEPT[step]".to_owned());
            lines.push("return kept.sqrt(), (1 - kept).sqrt(), step.double()".to_owned());
            if learns_variance(process) {
                before.insert_str(before.trim_end().len(), &posterior(steps));
            }
        }
        Schedule::Flow { shift, steps } => {
            if shift != 1.0 {
                let shift = float(shift);
                lines.push(format!("draw = {shift} * draw / (1 + ({shift} - 1) * draw)"));
            }
            lines.push(format!("return 1 - draw, draw, {steps} * draw"));
        }
        Schedule::Ve { sigma_min, sigma_max } => {
            if !matches!(process.times, Times::LogNormal { .. }) {
                let (low, high) = (float(sigma_min), float(sigma_max));
                lines.push(format!("draw = {low} * ({high} / {low}) ** draw"));
            }
            lines.push("return torch.ones_like(draw), draw, draw".to_owned());
        }
        Schedule::Edm { sigma_min, sigma_max, rho } => {
            if !matches!(process.times, Times::LogNormal { .. }) {
                let (low, high, rho) = (float(sigma_min), float(sigma_max), float(rho));
                lines.push(format!("low, high = {low} ** (1 / {rho}), {high} ** (1 / {rho})"));
                lines.push(format!("draw = (low + draw * (high - low)) ** {rho}"));
            }
            lines.push("return torch.ones_like(draw), draw, draw".to_owned());
        }
    }
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "{before}def level(draw: Tensor) -> tuple[Tensor, Tensor, Tensor]:\n    \"\"\"Signal, noise and time of {draws}, \
         in f64.\"\"\"\n{}",
        body.trim_end()
    )
}

/// The signal that is kept at each step.
fn chain(curve: Curve, steps: usize, zero_terminal_snr: bool) -> String {
    let mut lines = match curve {
        Curve::Linear { start, end } => {
            vec![format!("betas = torch.linspace({}, {}, {steps}, dtype=torch.float64)", float(start), float(end))]
        }
        Curve::ScaledLinear { start, end } => vec![format!(
            "betas = torch.linspace({} ** 0.5, {} ** 0.5, {steps}, dtype=torch.float64) ** 2",
            float(start),
            float(end)
        )],
        Curve::Cosine { offset, largest } => {
            let (offset, largest) = (float(offset), float(largest));
            vec![
                format!("at = torch.arange({steps} + 1, dtype=torch.float64) / {steps}"),
                format!("curve = torch.cos((at + {offset}) / (1 + {offset}) * math.pi / 2) ** 2"),
                format!("betas = (1 - curve[1:] / curve[:-1]).clamp(max={largest})"),
            ]
        }
    };
    if zero_terminal_snr {
        lines.push("roots = (1 - betas).cumprod(0).sqrt()".to_owned());
        lines.push("first, last = roots[0], roots[-1]".to_owned());
        lines.push("return ((roots - last) * first / (first - last)) ** 2".to_owned());
    } else {
        lines.push("return (1 - betas).cumprod(0)".to_owned());
    }
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "def chain() -> Tensor:\n    \"\"\"Share of the variance that is signal, at each of {steps} steps.\"\"\"\n{body}\n\n\
         KEPT = chain()"
    )
}

/// The reverse distribution of each step, behind the signal that is kept.
fn posterior(steps: usize) -> String {
    // No noise is added at the first step; its logarithm only has to be finite.
    let least = if steps > 1 { "variance[1]" } else { "betas[0]" };
    format!(
        r#"


def posterior() -> tuple[Tensor, Tensor, Tensor]:
    """Of the step back: logarithms of its smallest and its largest variance, and how much the data moves its mean."""
    before = torch.cat([torch.ones(1, dtype=torch.float64), KEPT[:-1]])
    betas = 1 - KEPT / before
    variance = betas * (1 - before) / (1 - KEPT)
    variance[0] = {least}
    return variance.log(), betas.log(), betas * before.sqrt() / (1 - KEPT)


LOWER, UPPER, DATA = posterior()"#
    )
}

fn lesson(process: &Process) -> String {
    let mut lines = vec!["signal, noise, time = level(draw)".to_owned()];
    let is_preconditioned = matches!(process.precondition, Precondition::Edm { .. });
    let (data, its_noise) = match process.prediction {
        Prediction::Eps => ("-noise / signal", "torch.ones_like(noise)"),
        Prediction::X0 => ("torch.ones_like(noise)", "-signal / noise"),
        Prediction::V => ("-noise / (signal**2 + noise**2)", "signal / (signal**2 + noise**2)"),
        Prediction::Flow => ("-noise / (signal + noise)", "signal / (signal + noise)"),
    };
    let needs_noise = matches!(process.weighting, Weighting::P2 { .. } | Weighting::SigmaSqrt | Weighting::Cosmap);
    if process.weighting != Weighting::Uniform || is_preconditioned || learns_variance(process) {
        lines.push("# What an error of the output is as one of the data.".to_owned());
        lines.push(format!("data = {data}"));
    }
    if needs_noise {
        lines.push("# And as one of the noise.".to_owned());
        lines.push(format!("noises = {its_noise}"));
    }
    lines.push(match process.weighting {
        Weighting::Uniform => "weight = torch.ones_like(noise)".to_owned(),
        Weighting::MinSnr { gamma } => {
            format!("weight = (signal**2 / noise**2).clamp(max={}) * data**2", float(gamma))
        }
        Weighting::P2 { k, gamma } => {
            format!("weight = ({} + signal**2 / noise**2) ** -{} * noises**2", float(k), float(gamma))
        }
        Weighting::Edm { sigma_data } => {
            format!("weight = (signal**2 / noise**2 + 1 / {} ** 2) * data**2", float(sigma_data))
        }
        Weighting::SigmaSqrt => "weight = (noises - data) ** 2 / noise**2".to_owned(),
        Weighting::Cosmap => "weight = (noises - data) ** 2 * 2 / (math.pi * (signal**2 + noise**2))".to_owned(),
    });
    match process.precondition {
        Precondition::None => {
            let target = match process.prediction {
                Prediction::Eps => "(torch.zeros_like(noise), torch.ones_like(noise))",
                Prediction::X0 => "(torch.ones_like(noise), torch.zeros_like(noise))",
                Prediction::V => "(-noise, signal)",
                Prediction::Flow => "(-torch.ones_like(noise), torch.ones_like(noise))",
            };
            let variance = variance(process, "data", &mut lines);
            lines.push(format!("return Lesson(time, (signal, noise), {target}, weight{variance})"));
        }
        Precondition::Edm { sigma_data } => {
            lines.push("# Preconditioning of Karras et al. 2022, table 1.".to_owned());
            lines.push("sigma = noise / signal".to_owned());
            lines.push(format!("total = (sigma**2 + {0} ** 2).sqrt()", float(sigma_data)));
            lines.push(format!("skip, out = ({0} / total) ** 2, sigma * {0} / total", float(sigma_data)));
            lines.push("target = ((1 - skip) / out, -skip * sigma / out)".to_owned());
            lines.push("weight = weight * (out / data) ** 2".to_owned());
            let variance = variance(process, "out", &mut lines);
            lines.push(format!("return Lesson(sigma.log() / 4, (1 / total, sigma / total), target, weight{variance})"));
        }
    }
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "def lesson(draw: Tensor) -> Lesson:\n    \"\"\"What each draw of a level of noise teaches.\"\"\"\n{}",
        body.trim_end()
    )
}

/// The argument of a lesson that says of the variance, with the lines before it; `data` is what an error of the output is
/// as one of the data.
fn variance(process: &Process, data: &str, lines: &mut Vec<String>) -> &'static str {
    if !learns_variance(process) {
        return "";
    }
    lines.push("step = time.long()".to_owned());
    lines.push(format!("variance = (LOWER[step], UPPER[step], (DATA[step] * {data}) ** 2)"));
    ", variance"
}

/// The error that is trained, as `runtime/src/train/loss.rs` has it.
fn loss(process: &Process, noisy: &Type) -> String {
    let channels = noisy.axis(Axis::Channel).unwrap_or(0);
    let behind = noisy.data_dims().len().saturating_sub(channels + 1);
    let ones = |count: usize| ", 1".repeat(count);
    let mut lines = vec![];
    if learns_variance(process) {
        lines.push("# Channels of the prediction, and as many of the variance.".to_owned());
        lines.push(format!("out, fraction = out.chunk(2, dim={})", channels + 1));
    }
    lines.push("squares = (out - target) ** 2".to_owned());
    let mut counted = "squares";
    if !process.channel_weights.is_empty() {
        let weights: Vec<String> = process.channel_weights.iter().map(|weight| float(*weight)).collect();
        lines.push("# How much the error of each channel counts.".to_owned());
        lines.push(format!("channels = torch.tensor([{}]).to(squares)", weights.join(", ")));
        let shape = if behind > 0 { format!(".reshape(-1{})", ones(behind)) } else { String::new() };
        lines.push(format!("counted = squares * channels{shape}"));
        counted = "counted";
    }
    let error = format!("lesson.weight.to(squares) * {counted}.flatten(1).mean(1)");
    if learns_variance(process) {
        lines.push(format!("error = {error}"));
        lines.push(format!(
            "lower, upper, mean = (own.to(squares).reshape(-1{}) for own in lesson.variance)",
            ones(noisy.data_dims().len())
        ));
        lines.push("above = (fraction + 1) / 2 * (upper - lower)".to_owned());
        lines.push(
            "# The variational bound trains the variance alone (Nichol & Dhariwal 2021, equation 16).".to_owned(),
        );
        lines.push("off = squares.detach() * mean * (-above - lower).exp()".to_owned());
        lines.push("nats = (above - 1 + (-above).exp() + off) / 2".to_owned());
        lines.push("return error + nats.flatten(1).mean(1) / math.log(2)".to_owned());
    } else {
        lines.push(format!("return {error}"));
    }
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "def loss(out: Tensor, target: Tensor, lesson: Lesson) -> Tensor:\n    \"\"\"What is trained of each sample, of \
         outputs against what they should say.\"\"\"\n{}",
        body.trim_end()
    )
}
