//! A network that is not trained: it looks at samples, up to one of its values.

use crate::error::RunError;
use crate::host::HostTensor;
use crate::module::slots;
use crate::plan::{Bindings, Plan};
use crate::tensors::TensorFile;
use crate::train::{checkpoint, fingerprint};
use crate::weights::{PartWeights, reader_of_parts};
use archc_compiler::dim::Sizes;
use archc_compiler::ir::{Graph, NodeId};
use archc_compiler::types::{Axis, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// The decoder of an autoencoder, or another network that takes samples and nothing else, with its parameters.
#[derive(Clone, Debug)]
pub struct Frozen {
    pub(crate) plan: Plan,
    /// The value that counts.
    pub(crate) at: NodeId,
    pub(crate) parameters: BTreeMap<String, HostTensor>,
    sizes: Sizes,
    /// The shape of one sample.
    sample: Vec<usize>,
}

impl Frozen {
    /// The network up to a value, its first output unless another is given, for samples of a shape.
    ///
    /// Fails where it takes anything but a sample of that shape, or where the value does not come from the sample.
    pub fn new(
        graph: Arc<Graph>,
        parameters: BTreeMap<String, HostTensor>,
        at: Option<NodeId>,
        sample: &[usize],
    ) -> Result<Self, RunError> {
        let name = graph.name();
        let unsupported = |text: String| Err(RunError::Unsupported(text));
        let [input] = graph.inputs.as_slice() else {
            let inputs: Vec<String> = graph.inputs.iter().map(|input| format!("`{}`", input.name)).collect();
            return unsupported(format!(
                "{name} looks at samples, so a sample has to be its only input: it has {}",
                inputs.join(", ")
            ));
        };
        let ty = &graph.node(input.node).ty;
        let one = HostTensor::f32(std::iter::once(1).chain(sample.iter().copied()).collect(), vec![]);
        let plan = Plan::new(graph.clone());
        let holds_numbers = !matches!(ty.kind, Kind::Label | Kind::Ids | Kind::Mask);
        let sizes = match plan.bind(std::slice::from_ref(&one)) {
            Ok(bindings) if holds_numbers => bindings.sizes,
            Ok(_) | Err(_) => return unsupported(format!("{name} takes {ty}, and a sample is {sample:?}")),
        };
        let Some(at) = at.or_else(|| graph.outputs.first().map(|output| output.node)) else {
            return unsupported(format!("{name} has no output"));
        };
        let value = &graph.node(at).ty;
        if !value.batch.samples || matches!(value.kind, Kind::Label | Kind::Ids | Kind::Mask) {
            return unsupported(format!(
                "`{}` of {name} is {value}, which no error of a sample changes",
                graph.place(at)
            ));
        }
        Ok(Self { plan, at, parameters, sizes, sample: sample.to_vec() })
    }

    /// Its parameters in a file. Tensors of the other half of an autoencoder may stand beside them.
    pub fn parameters(graph: &Graph, file: TensorFile) -> Result<BTreeMap<String, HostTensor>, RunError> {
        let parts = [PartWeights { prefix: String::new(), files: vec![file] }];
        let mut read = reader_of_parts(graph, &parts)?;
        let tensor = |slot: crate::module::Slot| {
            let tensor = HostTensor::f32(slot.shape.clone(), read(&slot)?);
            Ok((slot.path, tensor))
        };
        slots(graph).into_iter().map(tensor).collect()
    }

    /// What tells it from other networks: a hash of its graph, of the value that counts and of its parameters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(fingerprint(&self.plan.graph).as_bytes());
        hash.update(&self.at.0.to_le_bytes());
        self.parameters.iter().for_each(|(name, tensor)| checkpoint::add(&mut hash, name, tensor));
        format!("{:016x}", hash.digest())
    }

    /// The shape of one sample.
    #[must_use]
    pub fn sample(&self) -> &[usize] {
        &self.sample
    }

    /// Sizes of a run on some samples.
    pub(crate) fn bindings(&self, batch: usize) -> Bindings {
        Bindings { batch, sizes: self.sizes.clone() }
    }

    /// Channels of a sample, and elements of a channel that follow each other.
    pub(crate) fn channels(&self) -> (usize, usize) {
        let input = self.plan.graph.inputs.first().map(|input| &self.plan.graph.node(input.node).ty);
        let axis = input.and_then(|ty| ty.axis(Axis::Channel)).unwrap_or(0);
        let inside = self.sample.iter().skip(axis + 1).product();
        (self.sample.get(axis).copied().unwrap_or(1), inside)
    }
}
