//! The graph as a document for programs: JSON and YAML.

use super::groups::Groups;
use super::{Graph, InitOrigin, NodeKind, Role, ScopeKind};
use crate::ops::Storage;
use crate::ops::attribute::Shown;
use crate::source::SourceMap;
use crate::types::DType;
use indexmap::IndexMap;
use serde::Serialize;

/// Version of the form below; it changes when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// A graph with everything by name and number.
#[derive(Debug, Serialize)]
pub struct Document {
    pub format: &'static str,
    pub version: u32,
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    pub docs: String,
    pub hyperparameters: IndexMap<String, Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<archc_process::Process>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Sizes that have to be whole numbers.
    pub constraints: Vec<ConstraintEntry>,
    pub parameter_elements: u64,
    /// In checkpoint order.
    pub parameters: Vec<ParameterEntry>,
    pub scopes: Vec<ScopeEntry>,
    /// Operands before users.
    pub nodes: Vec<NodeEntry>,
}

#[derive(Debug, Serialize)]
pub struct Port {
    pub name: String,
    pub node: u32,
    #[serde(rename = "type")]
    pub ty: String,
}

#[derive(Debug, Serialize)]
pub struct ConstraintEntry {
    pub whole: String,
    /// Whether the spec states it.
    pub declared: bool,
    pub place: String,
}

#[derive(Debug, Serialize)]
pub struct ParameterEntry {
    pub name: String,
    pub shape: Vec<u64>,
    pub dtype: DType,
    pub init: String,
    /// `call`, `scope` or `default`: which kind of line decided.
    pub origin: &'static str,
    pub trainable: bool,
    /// Stored beside the parameters, but not counted as one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub buffer: bool,
    pub node: u32,
}

#[derive(Debug, Serialize)]
pub struct ScopeEntry {
    pub id: u32,
    pub kind: &'static str,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    pub path: String,
    pub place: String,
    pub inputs: IndexMap<String, u32>,
    pub outputs: Vec<u32>,
}

#[derive(Debug, Serialize)]
pub struct NodeEntry {
    pub id: u32,
    pub op: String,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub attributes: IndexMap<&'static str, Shown>,
    pub operands: Vec<u32>,
    #[serde(rename = "type")]
    pub ty: String,
    pub scope: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<u32>,
    pub place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused: Option<FusedEntry>,
}

/// A node that runs with others as one.
#[derive(Debug, Serialize)]
pub struct FusedEntry {
    pub kernel: &'static str,
    /// The node in whose place they run, and whose value they have.
    pub last: u32,
}

impl Document {
    pub fn of(graph: &Graph, groups: &Groups, sources: &SourceMap) -> Self {
        let port = |name: &str, node: super::NodeId| Port {
            name: name.to_owned(),
            node: node.0,
            ty: graph.node(node).ty.to_string(),
        };
        Document {
            format: "archc-ir",
            version: VERSION,
            model: graph.model.to_string(),
            preset: graph.preset.as_ref().map(|name| name.to_string()),
            docs: graph.docs.clone(),
            hyperparameters: graph.hyperparameters.iter().map(|(n, v)| (n.to_string(), v.clone())).collect(),
            process: graph.process.as_ref().map(|declared| declared.process.clone()),
            inputs: graph.inputs.iter().map(|input| port(&input.name, input.node)).collect(),
            outputs: graph.outputs.iter().map(|output| port(&output.name, output.node)).collect(),
            constraints: graph
                .constraints
                .iter()
                .map(|constraint| ConstraintEntry {
                    whole: constraint.whole.to_string(),
                    declared: constraint.declared,
                    place: sources.place(constraint.span),
                })
                .collect(),
            parameter_elements: graph.parameter_elements(),
            parameters: graph.parameters.iter().map(parameter).collect(),
            scopes: graph.scope_ids().map(|id| scope(graph, sources, id)).collect(),
            nodes: graph.node_ids().map(|id| node(graph, groups, sources, id)).collect(),
        }
    }
}

fn parameter(parameter: &super::Parameter) -> ParameterEntry {
    ParameterEntry {
        name: parameter.path.to_string(),
        shape: parameter.shape.clone(),
        dtype: DType::F32,
        init: parameter.init.to_string(),
        origin: match parameter.origin {
            InitOrigin::Call(_) => "call",
            InitOrigin::Scope(_) => "scope",
            InitOrigin::Default => "default",
        },
        trainable: parameter.is_trained(),
        buffer: parameter.storage == Storage::Buffer,
        node: parameter.node.0,
    }
}

fn scope(graph: &Graph, sources: &SourceMap, id: super::ScopeId) -> ScopeEntry {
    let scope = graph.scope(id);
    ScopeEntry {
        id: id.0,
        kind: match scope.kind {
            ScopeKind::Model => "model",
            ScopeKind::Block => "block",
            ScopeKind::Residual => "residual",
            ScopeKind::Section => "section",
        },
        name: scope.name.to_string(),
        parent: scope.parent.map(|parent| parent.0),
        path: scope.path.to_string(),
        place: sources.place(scope.call),
        inputs: scope.inputs.iter().map(|(name, node)| (name.to_string(), node.0)).collect(),
        outputs: scope.outputs.iter().map(|node| node.0).collect(),
    }
}

fn node(graph: &Graph, groups: &Groups, sources: &SourceMap, id: super::NodeId) -> NodeEntry {
    let node = graph.node(id);
    let (op, attributes) = match &node.kind {
        NodeKind::Input(_) => ("input".to_owned(), IndexMap::new()),
        NodeKind::Op(op) => (op.name().to_owned(), op.attributes().into_iter().collect()),
    };
    NodeEntry {
        id: id.0,
        op,
        attributes,
        operands: graph.operands(id).iter().map(|operand| operand.0).collect(),
        ty: node.ty.to_string(),
        scope: node.scope.0,
        path: node.path.as_ref().map(|path| path.to_string()),
        name: node.name.as_ref().map(|name| name.to_string()),
        role: node.role,
        parameters: node.parameters.iter().map(|parameter| parameter.0).collect(),
        place: sources.place(node.span),
        fused: groups.of(id).map(|group| FusedEntry { kernel: group.kernel.name(), last: groups.place(id).0 }),
    }
}

impl Graph {
    /// With what runs as one.
    pub fn to_json(&self, groups: &Groups, sources: &SourceMap) -> String {
        let document = Document::of(self, groups, sources);
        serde_json::to_string_pretty(&document).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
    }

    /// With what runs as one.
    pub fn to_yaml(&self, groups: &Groups, sources: &SourceMap) -> String {
        let document = Document::of(self, groups, sources);
        serde_yaml::to_string(&document).unwrap_or_else(|error| format!("error: \"{error}\"\n"))
    }
}
