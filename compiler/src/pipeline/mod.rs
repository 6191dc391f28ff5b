//! A `pipeline`: networks that make a sample together.
//!
//! ```text
//! text --tokenizers--> ids --encoder--> conditions --stages--> latents --decoder--> sample
//! ```
//!
//! The body of a pipeline is cut at its [`Denoise`] statements. What stands before the first becomes one graph, the
//! encoder, whose outputs are the conditions of all networks that take noise away; what stands behind the last becomes
//! another one, the decoder. Between them each network is a [`Stage`]. The graphs are those of models made from pieces of the
//! body, so that everything the language says of models holds for them.
//!
//! Every network of a pipeline is labelled with the folder of its weights, as a [`Part`].

mod config;
mod denoise;
mod findings;

pub(crate) use denoise::{DENOISE, Denoise};
pub(crate) use findings::findings;

use crate::dim::Sizes;
use crate::ir::{Graph, ROOT, Scope, ScopeKind};
use crate::ops::attribute::Shown;
use archc_grammar::{FileId, Span};
use std::sync::Arc;

/// The name that stands, in the numbers of a condition, for whether a prediction is the conditional one.
pub const GUIDED: &str = "guided";

/// The default of an input that is drawn where it is not given.
pub(crate) const NOISE: &str = "noise";

/// A pipeline with all of its graphs.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub name: String,
    /// The `///` comment above it.
    pub docs: String,
    /// Inputs that are unit noise unless they are given.
    pub noise: Vec<Arc<str>>,
    /// Makes the conditions; there is none where no condition is computed.
    pub encoder: Option<Network>,
    /// Networks that take noise away, in the order in which they do.
    pub stages: Vec<Stage>,
    /// Makes the sample from what the last stage leaves.
    pub decoder: Network,
}

/// A graph and the parts that it is made of.
#[derive(Clone, Debug)]
pub struct Network {
    pub graph: Arc<Graph>,
    pub parts: Vec<Part>,
}

/// A network with the folder that its weights are in.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// With dots, as it stands in the source: `refiner.unet`.
    pub path: Arc<str>,
    /// What stands before the names of its parameters in the graph, with its dot; empty where it is the whole graph.
    pub prefix: String,
    /// The name of the model.
    pub model: Arc<str>,
    /// The file of `std.models` that the model stands in.
    pub family: Option<String>,
    /// What is in force, without what says how a network starts or is trained.
    pub hyperparameters: Vec<(Arc<str>, Shown)>,
}

/// A network that takes noise away, and how.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its part holds all of the graph.
    pub network: Network,
    /// The `denoise`.
    pub call: Span,
    /// By the name of the input.
    pub conditions: Vec<(Arc<str>, Condition)>,
    /// Sizes that are open in the graph.
    pub sizes: Sizes,
    pub settings: Settings,
}

/// Where a condition comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// An output of the encoder.
    Encoded(usize),
    /// Numbers of a vector, with the condition and without it.
    Numbers { guided: Vec<f64>, free: Vec<f64> },
}

/// What a pipeline says of a sampler; the rest is as usual.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub sampler: Option<String>,
    pub steps: Option<u64>,
    pub guidance: Option<f64>,
    /// That of the first frame of a video, from which it goes to `guidance` in equal distances.
    pub first_guidance: Option<f64>,
    pub rescale: Option<f64>,
    pub spacing: Option<String>,
    pub offset: Option<u64>,
    pub karras: Option<bool>,
    /// The share of the noise, above 0 and below 1, behind which this stage takes over, and that behind which the next does.
    pub from: Option<f64>,
    pub until: Option<f64>,
    /// Texts are zeros where there is no negative prompt.
    pub zero_without_negative: bool,
}

impl Part {
    /// Its folder below that of the pipeline: `refiner/unet`.
    #[must_use]
    pub fn folder(&self) -> String {
        self.path.replace('.', "/")
    }
}

impl Network {
    /// Of a graph whose parts are the labelled calls in its body. `describe` says what is known of each definition.
    pub(crate) fn of_calls(graph: Graph, describe: impl Fn(FileId, &str) -> Described) -> Self {
        let is_part =
            |scope: &Scope| scope.parent == Some(ROOT) && scope.kind == ScopeKind::Block && !scope.path.is_empty();
        let mut parts: Vec<Part> = vec![];
        for scope in graph.scope_ids().map(|id| graph.scope(id)).filter(|scope| is_part(scope)) {
            let prefix = format!("{}.", scope.path);
            if graph.parameters.iter().any(|parameter| parameter.path.starts_with(&prefix)) {
                let described = describe(scope.definition.file, &scope.name);
                parts.push(described.part(&scope.path, &prefix, &scope.name, &scope.hyperparameters));
            }
        }
        Self { graph: Arc::new(graph), parts }
    }
}

/// What is known of a definition beside its values.
pub(crate) struct Described {
    pub family: Option<String>,
    /// Hyperparameters that say how a network starts or is trained.
    pub idle: Vec<Arc<str>>,
}

impl Described {
    pub fn part(self, path: &Arc<str>, prefix: &str, model: &Arc<str>, values: &[(Arc<str>, Shown)]) -> Part {
        let hyperparameters = values.iter().filter(|(name, _)| !self.idle.contains(name)).cloned().collect();
        let (path, prefix, model) = (path.clone(), prefix.to_owned(), model.clone());
        Part { path, prefix, model, family: self.family, hyperparameters }
    }
}
