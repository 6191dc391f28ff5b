//! Evaluating a graph stage by stage, and keeping what a stage leaves for the next evaluation.

use crate::execute::{Mode, Run, Values};
use crate::halves::Halves;
use crate::host::HostTensor;
use crate::kernels::Kernels;
use crate::module::GraphModule;
use crate::plan::{Bindings, Plan};
use crate::value::Value;
use archc_compiler::analysis::stages::{Stage, stages};
use archc_compiler::ir::{Graph, NodeId, NodeKind};
use archc_compiler::types::Type;
use std::collections::BTreeMap;
use std::ops::Range;

/// Values of some nodes.
pub(crate) type Known<B> = BTreeMap<NodeId, Value<B>>;

/// Most bytes of a table of values for steps to come. A product over so many rows reads its weights once instead of in
/// each step, and the table stays small beside the weights that it saves reading.
const TABLE: u64 = 128 << 20;

/// Where the stages of a graph lie, whose nodes are ordered by them.
#[derive(Clone, Debug)]
pub(crate) struct Stages {
    of: Vec<Stage>,
    /// Nodes that use nothing of later stages, by stage.
    ranges: BTreeMap<Stage, Range<usize>>,
    /// Nodes of earlier stages that a stage uses, and inputs of its own.
    given: BTreeMap<Stage, Vec<NodeId>>,
}

impl Stages {
    /// Of a graph as [`SAMPLING`](archc_compiler::passes::SAMPLING) leaves it.
    pub fn all(graph: &Graph) -> Self {
        Self::new(graph, stages(graph))
    }

    /// Of a graph whose constants come first: these, and the rest.
    pub fn constants(graph: &Graph) -> Self {
        let either = |stage| if stage == Stage::Constant { Stage::Constant } else { Stage::Step };
        Self::new(graph, stages(graph).into_iter().map(either).collect())
    }

    /// Of a graph in any order, all of which belongs to the last stage.
    pub fn one(graph: &Graph) -> Self {
        let last = |(id, stage): (NodeId, Stage)| match graph.node(id).kind {
            NodeKind::Input(_) => stage,
            NodeKind::Op(_) => Stage::Step,
        };
        Self::new(graph, graph.node_ids().zip(stages(graph)).map(last).collect())
    }

    fn new(graph: &Graph, of: Vec<Stage>) -> Self {
        let stage = |id: NodeId| of.get(id.index()).copied().unwrap_or_default();
        let mut ranges = BTreeMap::new();
        let mut given: BTreeMap<Stage, Vec<NodeId>> = BTreeMap::new();
        let first = graph.inputs.len();
        for own in Stage::ALL {
            let nodes = || graph.node_ids().skip(first).filter(|id| stage(*id) == own);
            let start = nodes().next().map_or(first, NodeId::index);
            ranges.insert(own, start..start + nodes().count());
            let is_given = |id: &NodeId| stage(*id) != own || id.index() < first;
            let mut used: Vec<NodeId> = nodes().flat_map(|id| graph.operands(id)).filter(is_given).collect();
            if own == Stage::Step {
                used.extend(graph.outputs.iter().map(|output| output.node).filter(is_given));
            }
            used.sort_unstable();
            used.dedup();
            given.insert(own, used);
        }
        Self { of, ranges, given }
    }

    fn stage(&self, node: NodeId) -> Stage {
        self.of.get(node.index()).copied().unwrap_or_default()
    }

    /// What a stage needs before it runs.
    pub fn given(&self, stage: Stage) -> &[NodeId] {
        self.given.get(&stage).map_or(&[], Vec::as_slice)
    }

    fn range(&self, stage: Stage) -> Range<usize> {
        self.ranges.get(&stage).cloned().unwrap_or_default()
    }

    /// What other stages use of a stage.
    fn left(&self, stage: Stage) -> impl Iterator<Item = NodeId> {
        let mut left: Vec<NodeId> = self.given.values().flatten().copied().collect();
        left.sort_unstable();
        left.dedup();
        left.into_iter().filter(move |id| self.stage(*id) == stage)
    }
}

/// A graph with its parameters, to be run in stages.
pub(crate) struct Staged<'e, B: Kernels> {
    pub plan: &'e Plan,
    pub stages: &'e Stages,
    pub module: &'e GraphModule<B>,
    pub halves: Option<&'e Halves>,
    pub device: &'e B::Device,
}

impl<B: Kernels> Staged<'_, B> {
    /// Runs one stage, and returns what others use of it.
    pub fn run(&self, stage: Stage, given: Known<B>, bindings: &Bindings) -> Known<B> {
        let mut values = Values::of(self.plan, vec![]);
        for (node, value) in given {
            if let Some(slot) = values.0.get_mut(node.index()) {
                *slot = Some(value);
            }
        }
        let run = Run { plan: self.plan, module: self.module, bindings, mode: Mode::Evaluation, device: self.device };
        run.nodes(self.stages.range(stage), &mut values, &mut { self.halves });
        let value = |node: NodeId| values.0.get(node.index()).cloned().flatten();
        if stage == Stage::Step {
            let outputs = self.plan.graph.outputs.iter().map(|output| output.node);
            return outputs.filter_map(|node| Some((node, value(node)?))).collect();
        }
        self.stages.left(stage).filter_map(|node| Some((node, value(node)?))).collect()
    }
}

/// A denoiser of some samples at times that are known ahead.
pub(crate) struct Steps<'e, B: Kernels> {
    plan: Plan,
    stages: Stages,
    halves: Option<Halves>,
    module: &'e GraphModule<B>,
    device: &'e B::Device,
    /// For all samples.
    bindings: Bindings,
    noisy: NodeId,
    /// Constants, conditions and what is made of them.
    known: Known<B>,
    /// What the network will be told of the noise, in the order of the steps.
    times: Vec<f32>,
    /// How many of them have been.
    done: usize,
    table: Table<B>,
}

/// Values for several times.
struct Table<B: Kernels> {
    times: Vec<f32>,
    values: Known<B>,
}

impl<'e, B: Kernels> Steps<'e, B> {
    /// Of a graph with its parameters. `inputs` are those of a run; only what they say besides the noisy values and the
    /// time matters.
    pub fn new(
        (plan, stages, halves): (Plan, Stages, Option<Halves>),
        (module, device): (&'e GraphModule<B>, &'e B::Device),
        noisy: NodeId,
        inputs: &[HostTensor],
        bindings: Bindings,
        times: Vec<f32>,
    ) -> Self {
        let conditions = plan.graph.inputs.iter().zip(inputs);
        let conditions = conditions.filter(|(input, _)| stages.stage(input.node) == Stage::Condition);
        let known = conditions.map(|(input, tensor)| (input.node, Value::from_host(tensor, device))).collect();
        let table = Table { times: vec![], values: Known::new() };
        let mut steps = Self { plan, stages, halves, module, device, bindings, noisy, known, times, done: 0, table };
        for stage in [Stage::Constant, Stage::Condition] {
            let value = |node: &NodeId| Some((*node, steps.known.get(node)?.clone()));
            let given = steps.stages.given(stage).iter().filter_map(value).collect();
            let made = steps.staged().run(stage, given, &steps.bindings);
            steps.known.extend(made);
        }
        steps
    }

    fn staged(&self) -> Staged<'_, B> {
        let halves = self.halves.as_ref();
        Staged { plan: &self.plan, stages: &self.stages, module: self.module, halves, device: self.device }
    }

    /// What the network gives for the samples at a time.
    pub fn denoise(&mut self, noisy: &HostTensor, told: f32) -> Option<HostTensor> {
        let at = self.place(told);
        let samples = self.bindings.batch;
        let value = |node: NodeId| match self.stages.stage(node) {
            Stage::Step => None,
            Stage::Constant | Stage::Condition => self.known.get(&node).cloned(),
            Stage::Time => Some(self.table_rows(node, at..at + 1)?.each_repeated(1, samples)),
            Stage::Both => self.table_rows(node, at * samples..(at + 1) * samples),
        };
        let given = self.stages.given(Stage::Step).iter().filter_map(|node| Some((*node, value(*node)?)));
        let noisy = (self.noisy, Value::from_host(noisy, self.device));
        let outputs = self.staged().run(Stage::Step, given.chain([noisy]).collect(), &self.bindings);
        self.plan.graph.outputs.first().and_then(|main| outputs.get(&main.node)).map(Value::to_host)
    }

    /// What a value is for some rows of the table.
    fn table_rows(&self, node: NodeId, samples: Range<usize>) -> Option<Value<B>> {
        let value = self.table.values.get(&node)?;
        Some(value.sliced(&self.rows(&self.plan.graph.node(node).ty, samples)))
    }

    /// The rows of a value that belong to some samples.
    fn rows(&self, ty: &Type, samples: Range<usize>) -> Range<usize> {
        if !ty.batch.samples {
            return 0..1;
        }
        let own = Bindings { batch: 1, sizes: self.bindings.sizes.clone() };
        let parts: usize = self.plan.batch_of(ty, &own).iter().product();
        samples.start * parts..samples.end * parts
    }

    /// The place of a time in the table, which is made anew where it lacks it: for that and the times behind it.
    fn place(&mut self, told: f32) -> usize {
        let is = |own: &f32| own.to_bits() == told.to_bits();
        if let Some(place) = self.table.times.iter().position(is) {
            return place;
        }
        let coming = self.times.get(self.done..).unwrap_or_default();
        let first = coming.iter().position(is);
        // A time that was not announced has a table of its own.
        let mut times = vec![told];
        if let Some(first) = first {
            let most = self.most_times();
            let mut ahead = coming.iter().skip(first + 1).copied();
            while let (true, Some(next)) = (times.len() < most, ahead.next()) {
                if !times.iter().any(|own| own.to_bits() == next.to_bits()) {
                    times.push(next);
                }
            }
            self.done += first;
        }
        self.table = self.made(times);
        0
    }

    /// How many times fit a table.
    fn most_times(&self) -> usize {
        let bytes = |stage: Stage| -> u64 {
            let elements = |node: NodeId| self.plan.graph.node(node).ty.elements_at(&self.bindings.sizes);
            self.stages.left(stage).filter_map(elements).sum::<u64>().saturating_mul(size_of::<f32>() as u64)
        };
        let one = bytes(Stage::Time) + bytes(Stage::Both).saturating_mul(self.bindings.batch as u64);
        (TABLE / one.max(1)).max(1) as usize
    }

    fn made(&self, times: Vec<f32>) -> Table<B> {
        let (staged, samples) = (self.staged(), self.bindings.batch);
        let inputs = staged.plan.graph.inputs.iter().map(|input| input.node);
        let told = HostTensor::f32(vec![times.len()], times.clone());
        let mut values: Known<B> = inputs
            .filter(|input| staged.stages.stage(*input) == Stage::Time)
            .map(|input| (input, Value::from_host(&told, staged.device)))
            .collect();
        for (stage, batch) in [(Stage::Time, times.len()), (Stage::Both, times.len() * samples)] {
            let adapted = |node: &NodeId| {
                let own = staged.stages.stage(*node);
                let value = if own <= Stage::Condition { self.known.get(node) } else { values.get(node) }?.clone();
                let per_sample = staged.plan.graph.node(*node).ty.batch.samples;
                let value = match (stage, own) {
                    (Stage::Both, Stage::Condition) if per_sample => value.repeated(times.len()),
                    (Stage::Both, Stage::Time) if per_sample => value.each_repeated(times.len(), samples),
                    _ => value,
                };
                Some((*node, value))
            };
            let given: Known<B> = staged.stages.given(stage).iter().filter_map(adapted).collect();
            let made = staged.run(stage, given, &Bindings { batch, sizes: self.bindings.sizes.clone() });
            values.extend(made);
        }
        Table { times, values }
    }
}
