//! Operators: attributes, types, parameters, and the node.

use super::Elaborator;
use super::bind::INIT_ARGUMENTS;
use super::naming::join;
use super::value::{Bound, InitValue, LabelValue, Value};
use crate::dim::Dim;
use crate::init::Init;
use crate::ir::{Node, NodeId, NodeKind, Parameter, ParameterId};
use crate::ops::attribute::{AttributeValue, MAX_WHOLE};
use crate::ops::signature::{Operands, Signature};
use crate::ops::{Misuse, Obligations, Op, Parameter as ParameterOp, ParameterSpec};
use crate::suggest::did_you_mean;
use crate::types::{Kind, MAX_ELEMENTS, Type, fits};
use archc_grammar::{Diagnostic, Span};
use smallvec::SmallVec;
use std::sync::Arc;

/// Initialisers that a call gives: for its weight, for its bias.
type GivenInits = [Option<(Init, Span)>; 2];

impl Elaborator<'_> {
    /// A call of an operator with everything bound.
    pub(super) fn operator(
        &mut self,
        signature: &'static Signature,
        bound: &Bound,
        piped: Option<NodeId>,
        label: Option<&LabelValue>,
        span: Span,
    ) -> Value {
        let (attributes, rest) = bound.split_at(signature.attributes.len().min(bound.len()));
        let (inits, operands) = rest.split_at(INIT_ARGUMENTS.len().min(rest.len()));
        let values: Vec<Option<AttributeValue>> =
            attributes.iter().map(|given| given.as_ref().and_then(|(value, _)| value.attribute())).collect();
        let op = match (signature.build)(&values) {
            Ok(op) => op,
            Err(wrong) => return self.wrong_attribute(signature, wrong.index, attributes, span),
        };
        let init = |at: usize| match inits.get(at) {
            Some(Some((Value::Init(InitValue::Given(init)), span))) => Some((init.clone(), *span)),
            _ => None,
        };
        let given = [init(0), init(1)];
        let variadic = matches!(signature.operands, Operands::Variadic(_));
        let mut nodes: SmallVec<[NodeId; 3]> = SmallVec::new();
        nodes.extend(piped);
        let required = signature.operands.required();
        for (at, operand) in operands.iter().enumerate().skip(usize::from(piped.is_some() && !variadic)) {
            match operand {
                Some((Value::Tensor(node), _)) => nodes.push(*node),
                None if !variadic && at >= required => break,
                _ => return Value::Poison,
            }
        }
        if variadic && nodes.len() < 2 {
            let message = format!("`{}` lacks its second tensor", signature.name);
            return self.error("call/missing-argument", message, span, "there is one to join");
        }
        self.emit_named(op, &nodes, span, label, given).map_or(Value::Poison, Value::Tensor)
    }

    fn wrong_attribute(
        &mut self,
        signature: &Signature,
        index: usize,
        given: &[Option<(Value, Span)>],
        span: Span,
    ) -> Value {
        let Some(attribute) = signature.attributes.get(index) else { return Value::Poison };
        let problem = match given.get(index) {
            Some(Some((value, at))) => {
                let is_bare = matches!(value, Value::Text(word) if *self.program.sources.text(*at) == **word);
                // A bare word that stands for nothing at all.
                if is_bare && attribute.choices().next().is_none() && self.is_nothing(signature, value, *at) {
                    return Value::Poison;
                }
                let message = match value {
                    Value::Int(number) if *number > MAX_WHOLE as i64 => {
                        format!("`{}` of `{}` is too large", attribute.name, signature.name)
                    }
                    _ => format!("`{}` of `{}` expects {}", attribute.name, signature.name, attribute.expected),
                };
                let problem = Diagnostic::error("call/argument-type", message);
                match value {
                    Value::Text(word) if is_bare => {
                        let problem = problem.label(*at, format!("this is `{word}`"));
                        match did_you_mean(word, attribute.choices()) {
                            Some(help) => problem.help(help),
                            None => problem,
                        }
                    }
                    Value::Dim(dim) => problem
                        .label(*at, format!("this is the size {dim}"))
                        .help(format!("{dim} is known only when the model runs")),
                    other => problem.label(*at, format!("this is {}", other.describe())),
                }
            }
            _ => {
                let message = format!("`{}` lacks its `{}`", signature.name, attribute.name);
                Diagnostic::error("call/missing-argument", message)
                    .label(span, format!("give `{}: ..`", attribute.name))
                    .help(format!("`{}` is {}", attribute.name, attribute.expected))
            }
        };
        self.report(problem)
    }

    /// Whether a word for an attribute is an unknown name, which is reported unless the check of names has done so.
    fn is_nothing(&mut self, signature: &Signature, value: &Value, span: Span) -> bool {
        let Value::Text(word) = value else { return false };
        let is_nothing = !signature.has_choice(word) && !self.program.knows(self.module(), word);
        if is_nothing {
            self.error("name/unknown", format!("there is no `{word}` here"), span, "unknown name");
        }
        is_nothing
    }

    /// A node without a name of its own.
    pub(super) fn emit(&mut self, op: Op, operands: &[NodeId], span: Span) -> Option<NodeId> {
        self.emit_named(op, operands, span, None, [None, None])
    }

    pub(super) fn emit_named(
        &mut self,
        op: Op,
        operands: &[NodeId],
        span: Span,
        label: Option<&LabelValue>,
        given: GivenInits,
    ) -> Option<NodeId> {
        if self.halted || !self.spend_node(span) {
            return None;
        }
        let mut obligations = Obligations::default();
        let inferred = {
            let types: SmallVec<[&Type; 3]> = operands.iter().map(|operand| self.ty(*operand)).collect();
            op.as_operator().infer(&types, &mut obligations)
        };
        let ty = match inferred {
            Ok(ty) if ty.is_within_limits() => ty,
            Ok(ty) => return self.too_large(&ty.to_string(), span),
            Err(misuse) => {
                self.misuse(misuse, operands, span);
                return None;
            }
        };
        let specs = {
            let types: SmallVec<[&Type; 3]> = operands.iter().map(|operand| self.ty(*operand)).collect();
            op.as_operator().parameters(&types)
        };
        if let Some(spec) = specs.iter().find(|spec| !fits(spec.shape.iter().copied())) {
            let shape: Vec<String> = spec.shape.iter().map(u64::to_string).collect();
            return self.too_large(&format!("a parameter of {}", shape.join(" x ")), span);
        }
        for whole in obligations.0 {
            self.constrain(whole, span, false);
        }
        let [weight, bias] = &given;
        let useless = match (specs.is_empty(), specs.iter().any(|spec| spec.name == "bias")) {
            (true, _) => weight.as_ref().or(bias.as_ref()).map(|(_, at)| (*at, "parameters")),
            (false, false) => bias.as_ref().map(|(_, at)| (*at, "bias")),
            (false, true) => None,
        };
        if let Some((at, what)) = useless {
            let message = format!("`{}` has no {what} to initialise", op.name());
            self.error("call/unknown-argument", message, at, "leave it out");
            return None;
        }
        if matches!(ty.kind, Kind::Tokens | Kind::Image | Kind::Video | Kind::Vector) && ty.channels().is_none() {
            let message = format!("the channels of {ty} have to be known");
            self.error("type/open-size", message, span, "a channel count cannot wait until the model runs");
            return None;
        }
        let path = (label.is_some() || !specs.is_empty()).then(|| self.naming.path_for(label, op.name()));
        let name = op.name();
        let node = Node {
            kind: NodeKind::Op(op),
            ty,
            scope: self.scope,
            span,
            path: path.clone(),
            name: None,
            role: None,
            parameters: SmallVec::new(),
            allow: self.allow,
        };
        let id = self.graph.add_node(node, operands);
        if let Some(path) = path {
            for spec in specs {
                // What is wrong with a parameter is wrong with those beside it.
                if !self.parameter(id, name, spec, &path, &given, span) {
                    break;
                }
            }
        }
        Some(id)
    }

    /// A tensor that no machine could hold.
    pub(super) fn too_large<T>(&mut self, what: &str, span: Span) -> Option<T> {
        let message = format!("{what} is too large");
        self.error("shape/size", message, span, &format!("a tensor has at most {MAX_ELEMENTS} elements"));
        None
    }

    /// Adds a parameter. False if it cannot be, which has been reported.
    fn parameter(
        &mut self,
        node: NodeId,
        operator: &str,
        spec: ParameterSpec,
        path: &str,
        given: &GivenInits,
        span: Span,
    ) -> bool {
        let full: Arc<str> = join(path, spec.name);
        if let Some(first) = self.taken.get(&full) {
            let first = self.graph.node(*first).span;
            self.duplicate_name(&full, span, first);
            return false;
        }
        self.taken.insert(full.clone(), node);
        // `init: zero` silences a layer: without a word about its bias, the bias is zero too.
        let [weight, bias] = given;
        let chosen = match (spec.name, bias, weight) {
            ("bias", Some(bias), _) => Some(bias),
            ("bias", None, Some(weight)) if weight.0.is_zero() => Some(weight),
            ("bias", None, _) => None,
            (_, _, weight) => weight.as_ref(),
        };
        let (init, origin) = self.init_in_force(operator, &spec, chosen);
        if !table_fits(&init, &spec) {
            let shape: Vec<String> = spec.shape.iter().map(u64::to_string).collect();
            let message = format!("`{init}` does not fit a parameter of {}", shape.join(" x "));
            let help = match &init {
                Init::Values(values) => format!("there are {} values, one for each element", values.len()),
                _ => "it starts a table, `parameter(tokens[height * width, dim])`, with a width that four divides"
                    .to_owned(),
            };
            let problem = Diagnostic::error("init/value", message).label(span, "made here").help(help);
            self.report(problem);
            return false;
        }
        self.graph.parameters.push(Parameter {
            path: full,
            name: spec.name,
            node,
            shape: spec.shape,
            fans: spec.fans,
            init,
            origin,
            storage: spec.storage,
            cells: spec.cells,
        });
        let id = ParameterId(self.graph.parameters.len() as u32 - 1);
        self.graph.node_mut(node).parameters.push(id);
        true
    }

    /// Says what an operator said, with the places of its operands.
    pub(super) fn misuse(&mut self, misuse: Misuse, operands: &[NodeId], span: Span) {
        let mut shown: Vec<NodeId> = match misuse.operand {
            Some(at) => operands.get(at).copied().into_iter().collect(),
            None => operands.to_vec(),
        };
        shown.sort_unstable();
        shown.dedup();
        let types: Vec<String> = shown.iter().map(|operand| self.ty(*operand).to_string()).collect();
        let given = if types.is_empty() { "here".to_owned() } else { format!("given {}", types.join(" and ")) };
        let mut problem = Diagnostic::error(misuse.id, misuse.message).label(span, given);
        for operand in shown {
            let made = self.graph.node(operand).span;
            // Parts of one cut were made in one place.
            let is_new = problem.labels.iter().all(|label| label.span != made);
            if is_new {
                problem = problem.label(made, format!("this is {}", self.ty(operand)));
            }
        }
        problem.help = misuse.help;
        if let [a, b] = operands {
            self.show_lost_rows(&mut problem, *a, *b);
        }
        self.report(problem);
    }

    /// Multiplies by a learned factor, one for all or one for each channel.
    pub(super) fn learned(
        &mut self,
        input: NodeId,
        value: f64,
        per_channel: bool,
        label: Option<&LabelValue>,
        span: Span,
    ) -> Value {
        match self.learned_factor(input, value, per_channel, label, span) {
            Some(factor) => {
                self.emit(crate::ops::Multiply {}.into(), &[input, factor], span).map_or(Value::Poison, Value::Tensor)
            }
            None => Value::Poison,
        }
    }

    /// The factor itself.
    pub(super) fn learned_factor(
        &mut self,
        input: NodeId,
        value: f64,
        per_channel: bool,
        label: Option<&LabelValue>,
        span: Span,
    ) -> Option<NodeId> {
        let of = match self.ty(input).channels() {
            Some(channels) if per_channel => Type::vector(channels),
            None if per_channel => {
                let message = format!("{} has no channels", self.ty(input));
                self.error("type/kind", message, span, "a factor per channel needs channels");
                return None;
            }
            _ => Type::new(Kind::Scalar, []),
        };
        let op = ParameterOp { of, frozen: false, buffer: false, stored: None };
        let own = LabelValue { path: Arc::from("scale"), span };
        let counted = label.cloned().or_else(|| {
            // Without a label it is named for what it is, and counted like any call.
            let path = self.naming.path_for(None, "scale");
            let local = path.rsplit('.').next().unwrap_or("scale");
            Some(LabelValue { path: Arc::from(local), ..own.clone() })
        });
        self.emit_named(op.into(), &[], span, counted.as_ref(), [Some((Init::Constant(value), span)), None])
    }
}

/// Whether a list of values, or a table of positions, starts a parameter of as many values or rows.
fn table_fits(init: &Init, spec: &ParameterSpec) -> bool {
    if let Init::Values(values) = init {
        // Only of a value by itself does the spec show the order of its elements.
        return spec.name.is_empty() && spec.shape.iter().product::<u64>() == values.len() as u64;
    }
    let Init::SinCos2d(grid) = init else { return true };
    // A value by itself has no name of its own; its table may be stored without the leading axis.
    match (grid.height.times(&grid.width), spec.shape.as_slice(), spec.name) {
        (Ok(Dim::Known(rows)), [1, count, channels], _) | (Ok(Dim::Known(rows)), [count, channels], "") => {
            rows == *count && channels % 4 == 0
        }
        _ => false,
    }
}
