//! Comparing an emitted network with the released one.

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::backend::AutodiffBackend;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Emitted networks run on the CPU, with gradients.
pub type B = Autodiff<Flex>;

/// Largest differences relative to the largest magnitude, as in `runtime/tests/conformance.rs`.
const OUTPUT: f64 = 3e-5;
const GRADIENT: f64 = 1e-4;
/// What counts as nothing beside the largest gradient.
const NOTHING: f64 = 1e-5;

/// Reference data of a network, and what has been found.
pub struct Case {
    io: Vec<u8>,
    weights: PathBuf,
    near_zero: Vec<String>,
    problems: Vec<String>,
    compared: Vec<String>,
    inputs: Vec<(String, Gradient)>,
}

/// The gradient of an input.
type Gradient = Box<dyn Fn(&<B as AutodiffBackend>::Gradients) -> Option<TensorData>>;

impl Case {
    /// The data of `tests/reference/tiny/<id>`.
    pub fn open(id: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference/tiny").join(id);
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_slice(&read("config.json")).unwrap_or_default();
        let names = config.get("near_zero_gradient_parameters").and_then(|names| names.as_array());
        let near_zero = names.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        Self {
            io: read("io.safetensors"),
            weights: folder.join("weights.safetensors"),
            near_zero,
            problems: vec![],
            compared: vec![],
            inputs: vec![],
        }
    }

    /// The published weights.
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    fn read(&self, name: &str) -> Option<(Vec<usize>, Vec<f64>)> {
        let file = SafeTensors::deserialize(&self.io).ok()?;
        let tensor = file.tensor(name).ok()?;
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => {
                data.chunks_exact(4).filter_map(|b| Some(f64::from(f32::from_le_bytes(b.try_into().ok()?)))).collect()
            }
            _ => data.chunks_exact(8).filter_map(|b| Some(i64::from_le_bytes(b.try_into().ok()?) as f64)).collect(),
        };
        Some((tensor.shape().to_vec(), values))
    }

    /// An input of numbers, with a gradient.
    pub fn input<const D: usize>(&mut self, name: &str) -> Tensor<B, D> {
        let (shape, values) = self.read(&format!("in.{name}")).unwrap_or((vec![0; D], vec![]));
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        let input = Tensor::<B, D>::from_data(TensorData::new(values, shape), &Default::default()).require_grad();
        let kept = input.clone();
        let gradient: Gradient = Box::new(move |gradients| Some(kept.grad(gradients)?.into_data()));
        self.inputs.push((format!("grad.in.{name}"), gradient));
        input
    }

    /// An input of classes.
    pub fn classes<const D: usize>(&self, name: &str) -> Tensor<B, D, Int> {
        let (shape, values) = self.read(&format!("in.{name}")).unwrap_or((vec![0; D], vec![]));
        let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    /// Compares an output.
    pub fn output<const D: usize>(&mut self, name: &str, found: &Tensor<B, D>) {
        self.check(name, found.clone().into_data(), OUTPUT);
    }

    fn check(&mut self, name: &str, found: TensorData, tolerance: f64) {
        let Some((_, expected)) = self.read(name) else {
            self.problems.push(format!("{name}: the reference has no such tensor"));
            return;
        };
        let found: Vec<f64> = found.iter::<f64>().collect();
        if found.len() != expected.len() {
            self.problems.push(format!("{name}: {} elements instead of {}", found.len(), expected.len()));
            return;
        }
        self.compared.push(name.to_owned());
        let largest = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let off = differences.fold(0.0_f64, |most, off| if off > most || off.is_nan() { off } else { most });
        if off.is_nan() || off > tolerance * largest {
            self.problems.push(format!("{name}: differs by {:.1e} of the largest magnitude", off / largest));
        }
    }

    /// Compares the gradients of `mean(out^2)` for parameters and inputs, and whether all parameters are there. `names` are
    /// published names and places in the model.
    pub fn gradients<M: Module<B>, const D: usize>(
        &mut self,
        model: &M,
        out: Tensor<B, D>,
        names: &[(&str, &str)],
        parameters: usize,
    ) {
        if model.num_params() != parameters {
            self.problems.push(format!("{} parameters instead of {parameters}", model.num_params()));
        }
        let gradients = (out.clone() * out).mean().backward();
        let mut collector = Collector { path: vec![], gradients: &gradients, found: BTreeMap::new() };
        model.visit(&mut collector);
        let found = collector.found;
        if found.len() != names.len() {
            self.problems.push(format!("{} tensors instead of {}", found.len(), names.len()));
        }
        let size = |data: &Option<TensorData>| {
            data.iter()
                .flat_map(|data| data.iter::<f64>().collect::<Vec<_>>())
                .fold(0.0_f64, |most, v| most.max(v.abs()))
        };
        let largest = found.values().map(size).fold(0.0, f64::max);
        for (published, place) in names {
            let Some(gradient) = found.get(*place) else {
                self.problems.push(format!("{published}: nothing stands at {place}"));
                continue;
            };
            let name = format!("grad.{published}");
            if self.near_zero.iter().any(|own| own == published) {
                if size(gradient) > NOTHING * largest {
                    self.problems.push(format!("{name}: {:e} instead of nothing", size(gradient)));
                }
                self.compared.push(name);
                continue;
            }
            match (gradient, self.read(&name)) {
                (Some(gradient), Some(_)) => self.check(&name, gradient.clone(), GRADIENT),
                (None, Some((_, expected))) if expected.iter().any(|value| *value != 0.0) => {
                    self.problems.push(format!("{name}: there is no gradient"));
                }
                // The reference holds some of the gradients; of those that are zero there may be none.
                _ => self.compared.push(name),
            }
        }
        for (name, gradient) in std::mem::take(&mut self.inputs) {
            if let (Some(gradient), Some(_)) = (gradient(&gradients), self.read(&name)) {
                self.check(&name, gradient, GRADIENT);
            }
        }
    }

    /// Fails with everything that was found.
    #[expect(clippy::panic, reason = "a test that fails")]
    pub fn conclude(mut self) {
        let file = SafeTensors::deserialize(&self.io).map(|file| file.names().iter().map(|n| n.to_string()).collect());
        let names: Vec<String> = file.unwrap_or_default();
        let due = names.into_iter().filter(|name| name.starts_with("grad.") || name.starts_with("out"));
        for name in due.filter(|name| !self.compared.contains(name)).collect::<Vec<_>>() {
            self.problems.push(format!("{name}: not compared"));
        }
        if !self.problems.is_empty() {
            panic!("{} problems:\n{}", self.problems.len(), self.problems.join("\n"));
        }
        assert!(self.compared.len() > 2, "only {} tensors were compared", self.compared.len());
    }
}

/// Whether burn-store gives parameters of PyTorch's other names.
fn is_renamed(container: &str) -> bool {
    matches!(container, "Struct:LayerNorm" | "Struct:GroupNorm")
}

/// Gradients by the place of their parameter, in the layout of PyTorch.
struct Collector<'a> {
    path: Vec<(String, String)>,
    gradients: &'a <B as AutodiffBackend>::Gradients,
    found: BTreeMap<String, Option<TensorData>>,
}

impl ModuleVisitor<B> for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = param.val().grad(self.gradients);
        let is_linear = self.path.last().is_some_and(|(_, container)| container == "Struct:Linear");
        let data = gradient.map(|gradient| {
            if is_linear && D == 2 { gradient.swap_dims(0, D - 1).into_data() } else { gradient.into_data() }
        });
        let last = self.path.len().saturating_sub(1);
        let segments = self.path.iter().enumerate().map(|(at, (name, container))| match name.as_str() {
            "gamma" if at == last && is_renamed(container) => "weight",
            "beta" if at == last && is_renamed(container) => "bias",
            name => name,
        });
        let place = segments.collect::<Vec<_>>().join(".");
        self.found.insert(place, data);
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_owned(), container.to_owned()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
}
