//! What a denoiser is given and gives: which input noise is added to, which tells how much, which holds the class.

use crate::error::RunError;
use crate::host::HostTensor;
use archc_compiler::dim::{Dim, Sizes};
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::ops::Op;
use archc_compiler::types::{Axis, Kind};
use archc_process::{Process, Schedule, Variance};
use std::collections::BTreeMap;

/// The inputs of a model by what they mean to its process.
#[derive(Clone, Debug)]
pub struct Interface {
    /// The process that the model declares.
    pub process: Process,
    /// Place of the input that noise is added to.
    pub noisy: usize,
    /// Places of the inputs that are told the level of noise.
    pub times: Vec<usize>,
    /// The input that holds the class, if there is one.
    pub label: Option<Label>,
    /// All other inputs: texts, masks, augmentations.
    pub conditions: Vec<Condition>,
}

/// The input that holds the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its place.
    pub input: usize,
    /// Number of classes.
    pub classes: i64,
    /// The class that stands for none, where the model has one.
    pub null: Option<i64>,
}

/// An input that the process knows nothing about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub input: usize,
    pub name: String,
    /// In words: `tokens[77, 768]`.
    pub ty: String,
}

impl Interface {
    /// Of a model that declares a process and gives a prediction of the shape of what it is given.
    pub fn of(graph: &Graph) -> Result<Self, RunError> {
        let unsupported = |text: String| Err(RunError::Unsupported(text));
        let Some(declared) = &graph.process else {
            let example = "process { schedule: cosine; prediction: v }";
            return unsupported(format!("{} declares no process: add `{example}` to the model", graph.name()));
        };
        let Some(noisy) = graph.noisy_input() else {
            return unsupported(format!("{} has no input that noise could be added to", graph.name()));
        };
        let process = declared.process.clone();
        let mut interface = Self { process, noisy: 0, times: vec![], label: None, conditions: vec![] };
        for (at, input) in graph.inputs.iter().enumerate() {
            let ty = &graph.node(input.node).ty;
            match ty.kind {
                _ if input.node == noisy => interface.noisy = at,
                Kind::Sigma if matches!(declared.process.schedule, Schedule::Steps { .. } | Schedule::Flow { .. }) => {
                    return unsupported(format!(
                        "`{}` is a noise level, but the process of {} tells its network a time: declare it as `timestep`",
                        input.name,
                        graph.name()
                    ));
                }
                Kind::Timestep | Kind::Sigma => interface.times.push(at),
                Kind::Label if interface.label.is_none() => {
                    let classes = ty.dim(Axis::Class).and_then(Dim::known).unwrap_or(1) as i64;
                    interface.label = Some(Label { input: at, classes, null: null_class(graph, input.node, classes) });
                }
                Kind::Label
                | Kind::Scalar
                | Kind::Image
                | Kind::Video
                | Kind::Tokens
                | Kind::Sequence
                | Kind::Vector
                | Kind::Ids
                | Kind::Mask => {
                    interface.conditions.push(Condition {
                        input: at,
                        name: input.name.to_string(),
                        ty: ty.to_string(),
                    });
                }
            }
        }
        interface.check_output(graph)?;
        Ok(interface)
    }

    /// The output has the shape of the noisy input, or twice its channels where half of them say the variance.
    fn check_output(&self, graph: &Graph) -> Result<(), RunError> {
        let (Some(input), Some(output)) = (graph.inputs.get(self.noisy), graph.outputs.first()) else { return Ok(()) };
        let (from, to) = (&graph.node(input.node).ty, &graph.node(output.node).ty);
        let factor = if self.learns_variance() { 2 } else { 1 };
        let channels = |ty: &archc_compiler::types::Type| ty.channels().unwrap_or(0);
        let positions = |ty: &archc_compiler::types::Type| ty.positions().cloned().collect::<Vec<_>>();
        if from.kind == to.kind && channels(from) * factor == channels(to) && positions(from) == positions(to) {
            return Ok(());
        }
        let wanted = if factor == 2 {
            format!("twice the channels of its input {from}, since it learns the variance")
        } else {
            format!("an output like its input {from}")
        };
        Err(RunError::Unsupported(format!("{} gives {to}; its process needs {wanted}", graph.name())))
    }

    /// Whether a second half of the output says the variance.
    #[must_use]
    pub fn learns_variance(&self) -> bool {
        self.process.variance == Variance::LearnedRange
    }

    /// The layout of the noisy input.
    #[must_use]
    pub fn kind(&self, graph: &Graph) -> Option<Kind> {
        graph.inputs.get(self.noisy).map(|input| graph.node(input.node).ty.kind)
    }

    /// The shape of one sample of the noisy input.
    pub fn sample_shape(&self, graph: &Graph, sizes: &Sizes) -> Result<Vec<usize>, RunError> {
        let input = graph.inputs.get(self.noisy).map(|input| &graph.node(input.node).ty);
        let shape: Option<Vec<usize>> =
            input.and_then(|ty| ty.data_dims().iter().map(|dim| dim.at(sizes).map(|size| size as usize)).collect());
        shape.ok_or_else(|| {
            let open: Vec<String> =
                graph.symbols().iter().filter(|symbol| !sizes.contains_key(*symbol)).map(ToString::to_string).collect();
            RunError::Unsupported(format!("the size of a sample is open: set {}", open.join(", ")))
        })
    }

    /// Elements of one sample up to the channel axis and with it: the output of a network that learns its variance holds,
    /// in turn, so many of the prediction and as many of the variance.
    #[must_use]
    pub fn run_of_channels(&self, graph: &Graph, shape: &[usize]) -> usize {
        let ty = graph.inputs.get(self.noisy).map(|input| &graph.node(input.node).ty);
        let axis = ty.and_then(|ty| ty.axis(Axis::Channel)).unwrap_or(0);
        shape.iter().skip(axis).product()
    }

    /// Elements of one channel that follow each other.
    #[must_use]
    pub fn inside_channel(&self, graph: &Graph, shape: &[usize]) -> usize {
        let ty = graph.inputs.get(self.noisy).map(|input| &graph.node(input.node).ty);
        let axis = ty.and_then(|ty| ty.axis(Axis::Channel)).unwrap_or(0);
        shape.iter().skip(axis + 1).product::<usize>().max(1)
    }

    /// The inputs of a run in the order of the model: noisy values, what is told of the noise, one class for each
    /// sample, and the other conditions by name.
    pub fn inputs(
        &self,
        graph: &Graph,
        noisy: HostTensor,
        told: &[f32],
        labels: &[i64],
        conditions: &BTreeMap<String, HostTensor>,
    ) -> Result<Vec<HostTensor>, RunError> {
        let mut noisy = Some(noisy);
        let mut inputs = Vec::with_capacity(graph.inputs.len());
        for (at, input) in graph.inputs.iter().enumerate() {
            let own = if at == self.noisy {
                noisy.take()
            } else if self.times.contains(&at) {
                Some(HostTensor::f32(vec![told.len()], told.to_vec()))
            } else if self.label.is_some_and(|label| label.input == at) {
                Some(HostTensor::i64(vec![labels.len()], labels.to_vec()))
            } else {
                conditions.get(&*input.name).cloned()
            };
            let missing = || RunError::Inputs { problems: vec![format!("`{}` is not given", input.name)] };
            inputs.push(own.ok_or_else(missing)?);
        }
        Ok(inputs)
    }
}

/// The class that a model adds to those of its labels, to drop them to.
fn null_class(graph: &Graph, label: NodeId, classes: i64) -> Option<i64> {
    let drops = |(user, _): (NodeId, u16)| matches!(graph.node(user).op(), Some(Op::DropLabel(_)));
    graph.users(label).any(drops).then_some(classes)
}
