//! The code of a module: its steps as statements, in paragraphs.

use super::numbers::{Numbers, Wanted, whole};
use super::{Context, Stored, ident, ops};
use crate::emit::EmitError;
use crate::emit::names::{field_name, unique};
use crate::emit::number::Number;
use crate::emit::structure::{CallStep, LoopStep, Module, OpStep, Place, Size, Spread, Step};
use crate::emit::values::{FLOATS, SIZES, Values, makes, missing_axes, new_shape, rank, wanted_axes};
use crate::ir::{Graph, NodeId};
use crate::ops::Op;
use crate::types::{Axis, Kind, Type};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use rustc_hash::FxHashMap;

/// The body of `forward`, and what it needs besides the fields.
pub(super) struct Body {
    pub statements: TokenStream,
    /// Numbers that it reads from fields of the module.
    pub stored: Vec<Stored>,
}

pub(super) fn tensor_type(kind: Kind) -> TokenStream {
    let rank = whole(rank(kind) as u64);
    if kind.is_index() { quote!(Tensor<B, #rank, Int>) } else { quote!(Tensor<B, #rank>) }
}

/// A value, given away at its last use.
fn take(values: &mut Values, node: NodeId) -> TokenStream {
    let name = ident(values.name(node));
    if values.read(node) { quote!(#name) } else { quote!(#name.clone()) }
}

/// A call of an operator, while it is being written.
pub(super) struct Call<'a, 'g> {
    pub context: &'a mut Context<'g>,
    graph: &'g Graph,
    step: &'a OpStep,
    module: &'a Module,
    stored: &'a mut Vec<Stored>,
    taken: FxHashMap<usize, TokenStream>,
    place: Option<TokenStream>,
    axes: &'a Axes,
}

impl Call<'_, '_> {
    pub fn count(&self) -> usize {
        self.step.operands.len()
    }

    fn ty(&self, at: usize) -> Option<&Type> {
        self.step.operands.get(at).map(|operand| &self.graph.node(*operand).ty)
    }

    pub fn result(&self) -> &Type {
        &self.graph.node(self.step.node).ty
    }

    pub fn operand_kind(&self, at: usize) -> Kind {
        self.ty(at).map_or(Kind::Vector, |ty| ty.kind)
    }

    /// The operand of that place; what is the same for parts of the batch has been repeated.
    pub fn operand(&mut self, at: usize) -> TokenStream {
        self.taken.get(&at).cloned().unwrap_or_default()
    }

    /// The operand with an axis for each of the result's.
    pub fn aligned(&mut self, at: usize) -> TokenStream {
        let x = self.operand(at);
        let result = self.result().kind;
        let missing = missing_axes(self.operand_kind(at), result).into_iter().map(|axis| whole(axis as u64));
        let missing: Vec<TokenStream> = missing.collect();
        let rank = whole(rank(result) as u64);
        match missing.as_slice() {
            [] => x,
            [only] => quote!(#x.unsqueeze_dim::<#rank>(#only)),
            _ => quote!(#x.unsqueeze_dims::<#rank>(&[#(#missing),*])),
        }
    }

    /// Whether layers run on kernels that come with the crate.
    pub fn has_kernels(&self) -> bool {
        self.context.options.kernels
    }

    /// Which of two operands has fewer axes than the result, where a kernel spreads it over them.
    pub fn smaller(&self) -> Option<usize> {
        let result = self.result().kind;
        let lacks = |at: usize| !missing_axes(self.operand_kind(at), result).is_empty();
        match (lacks(0), lacks(1)) {
            (true, false) => Some(0),
            (false, true) => Some(1),
            _ => None,
        }
        .filter(|_| self.has_kernels())
    }

    /// The place of an axis in the result, the batch being the first.
    pub fn axis(&self, axis: Axis) -> TokenStream {
        whole(self.result().axis(axis).map_or(0, |at| at + 1) as u64)
    }

    pub fn operand_axis(&self, at: usize, axis: Axis) -> TokenStream {
        whole(self.ty(at).and_then(|ty| ty.axis(axis)).map_or(0, |at| at + 1) as u64)
    }

    /// The field that holds the parameters.
    pub fn layer(&self) -> Result<TokenStream, EmitError> {
        let none = || EmitError(format!("a layer of `{}` has no field", self.module.name));
        self.place.clone().ok_or_else(none)
    }

    /// The shape that the first parameter is kept in.
    pub fn stored_shape(&self) -> Vec<u64> {
        let node = self.graph.node(self.step.node);
        node.parameters.first().map_or(vec![], |id| self.graph.parameter(*id).shape.clone())
    }

    /// Names of the sizes of the result among its numbers.
    pub fn sizes(&self) -> Vec<&'static str> {
        SIZES.into_iter().take(self.result().dims.len()).collect()
    }

    /// A number that the code reads: as it is, or from a field where it follows from hyperparameters.
    pub fn number(&mut self, name: &str) -> TokenStream {
        let number = Module::number(&self.step.numbers, name).cloned().unwrap_or(Number::Int(1));
        let is_float = FLOATS.contains(&name);
        stored(self.module, &number, name, is_float, self.stored)
    }

    pub fn size(&mut self, name: &str) -> TokenStream {
        let size = self.step.sizes.iter().find(|(own, _)| *own == name).map(|(_, size)| size.clone());
        size.map_or_else(|| whole(1), |size| render_size(&size, self.axes, false))
    }

    pub fn device(&self) -> TokenStream {
        if self.module.inputs.is_empty() { quote!(device) } else { quote!(&device) }
    }

    pub fn helper(&mut self, name: &'static str, arguments: TokenStream) -> TokenStream {
        self.context.helper(name, &arguments)
    }
}

/// A literal, or a field of the module.
fn stored(module: &Module, number: &Number, name: &str, is_float: bool, stored: &mut Vec<Stored>) -> TokenStream {
    let numbers = Numbers { hyperparameters: &module.hyperparameters };
    let wanted = if is_float { Wanted::Float } else { Wanted::Whole };
    if number.is_literal() {
        return numbers.render(number, wanted);
    }
    let known = stored.iter().find(|own| own.number == *number && own.wanted == wanted).map(|own| own.name.clone());
    let name = known.unwrap_or_else(|| {
        let mut taken: Vec<String> = module.fields.iter().map(|field| field.name.clone()).collect();
        taken.extend(stored.iter().map(|own| own.name.clone()));
        let plain = match number {
            Number::Field(source) => {
                let own = module.hyperparameters.iter().find(|own| own.source == *source);
                own.map(|own| own.name.clone())
            }
            _ => None,
        };
        let name = unique(plain.unwrap_or_else(|| name.to_owned()), &mut taken);
        stored.push(Stored { name: name.clone(), number: number.clone(), wanted });
        name
    });
    let name = ident(&name);
    quote!(self.#name)
}

/// Names of the axes of inputs that the code reads.
pub(super) struct Axes(FxHashMap<(usize, usize), String>, Vec<String>);

fn render_size(size: &Size, axes: &Axes, nested: bool) -> TokenStream {
    match size {
        Size::Known(size) => whole(*size),
        Size::Axis { input, axis } => {
            let name = ident(axes.0.get(&(*input, *axis)).map_or("size", |name| name));
            quote!(#name)
        }
        Size::Given(at) => {
            let name = ident(axes.1.get(*at).map_or("size", |name| name));
            quote!(#name)
        }
        Size::Product(parts) => {
            let parts: Vec<TokenStream> = parts.iter().map(|part| render_size(part, axes, true)).collect();
            let mut parts = parts.into_iter();
            let first = parts.next().unwrap_or_default();
            let product = parts.fold(first, |product, part| quote!(#product * #part));
            if nested { quote!((#product)) } else { product }
        }
        Size::Quotient(whole_size, divisor) => {
            let inner = match &**whole_size {
                product @ Size::Product(_) => render_size(product, axes, false),
                other => render_size(other, axes, true),
            };
            let divisor = whole(*divisor);
            let quotient = quote!(#inner / #divisor);
            if nested { quote!((#quotient)) } else { quotient }
        }
    }
}

/// Writes the body of a module.
pub(super) fn body(context: &mut Context<'_>, module: &Module) -> Result<Body, EmitError> {
    let graph = context.graph;
    let mut scope = Values::of(module, vec!["device".to_owned()]);
    let mut statements = TokenStream::new();
    let wanted = wanted_axes(module);
    let grouped = context.grouped(module);
    if !grouped.is_empty() {
        let names = module.inputs.iter().filter(|port| grouped.contains(&port.node)).map(|port| ident(&port.name));
        statements.extend(quote!(let [#(#names),*] = skips;));
    }
    let axes = read_axes(graph, module, &wanted, &mut scope, &mut statements);
    if let (true, Some(port)) = (context.needs_device(module), module.inputs.first()) {
        let name = ident(&port.name);
        statements.extend(quote!(let device = #name.device();));
    }
    let mut stored: Vec<Stored> = vec![];
    let mut last_kind = None;
    for (at, step) in module.steps.iter().enumerate() {
        let is_tail = at + 1 == module.steps.len();
        let (kind, shape) = new_shape(graph, step, last_kind);
        statements.extend(shape.map(|text| quote!(comment!(#text);)));
        last_kind = kind;
        let (value, results) = step_value(context, module, step, &mut scope, &mut stored, &axes)?;
        let Some(value) = value else {
            statements.extend(results);
            continue;
        };
        let made = makes(step);
        if is_tail && made == module.outputs {
            statements.extend(value);
            return Ok(Body { statements, stored });
        }
        let names = scope.bind_results(graph, step, module).into_iter().map(|name| match name {
            Some(name) => ident(&name).to_token_stream(),
            None => quote!(_),
        });
        let names: Vec<TokenStream> = names.collect();
        statements.extend(match (step, names.as_slice()) {
            // A factor of one leaves the value as it is.
            (Step::Op(_), [only]) if value.to_string() == only.to_string() => quote!(),
            (Step::Chunk { .. }, names) => quote!(let [#(#names),*] = #value;),
            (Step::Op(step), [only]) if is_generic(graph, step) => {
                let ty = tensor_type(graph.node(step.node).ty.kind);
                quote!(let #only: #ty = #value;)
            }
            (_, [only]) => quote!(let #only = #value;),
            (Step::Call(call), names) if context.is_array(&context.module(call.module)?) => {
                quote!(let [#(#names),*] = #value;)
            }
            (_, names) => quote!(let (#(#names),*) = #value;),
        });
    }
    let outputs: Vec<TokenStream> = module.outputs.iter().map(|output| take(&mut scope, *output)).collect();
    statements.extend(match outputs.as_slice() {
        [only] => quote!(#only),
        many if context.is_array(module) => quote!([#(#many),*]),
        many => quote!((#(#many),*)),
    });
    Ok(Body { statements, stored })
}

/// Binds the axes of inputs that the code reads, and says how they are called.
fn read_axes(
    graph: &Graph,
    module: &Module,
    wanted: &[(usize, usize)],
    scope: &mut Values,
    statements: &mut TokenStream,
) -> Axes {
    let mut taken: Vec<String> =
        module.inputs.iter().map(|port| port.name.clone()).chain(module.sizes.clone()).collect();
    let mut names = FxHashMap::default();
    for (input, port) in module.inputs.iter().enumerate() {
        let kind = graph.node(port.node).ty.kind;
        if !wanted.iter().any(|(own, _)| *own == input) {
            continue;
        }
        let mut pattern = vec![];
        for at in 0..rank(kind) {
            if wanted.contains(&(input, at)) {
                let axis = at.checked_sub(1).and_then(|at| kind.axes().get(at));
                let name = unique(axis.map_or("batch", |axis| axis.name()).to_owned(), &mut taken);
                let own = ident(&name);
                scope.fixed.push(name.clone());
                names.insert((input, at), name);
                pattern.push(quote!(#own));
            } else {
                pattern.push(quote!(_));
            }
        }
        let name = ident(&port.name);
        statements.extend(quote!(let [#(#pattern),*] = #name.dims();));
    }
    Axes(names, module.sizes.clone())
}

/// Whether a call leaves open how many axes its result has.
fn is_generic(graph: &Graph, step: &OpStep) -> bool {
    matches!(graph.node(step.node).op(), Some(Op::Sinusoid(_) | Op::Parameter(_) | Op::Embedding(_)))
}

fn field(module: &Module, place: Place) -> TokenStream {
    let name = ident(module.fields.get(place.field).map_or("unknown", |field| &field.name));
    match place.index {
        Some(index) => {
            let index = whole(index as u64);
            quote!(self.#name[#index])
        }
        None => quote!(self.#name),
    }
}

/// The value of a step; for a loop, its statements.
fn step_value(
    context: &mut Context<'_>,
    module: &Module,
    step: &Step,
    scope: &mut Values,
    stored_numbers: &mut Vec<Stored>,
    axes: &Axes,
) -> Result<(Option<TokenStream>, TokenStream), EmitError> {
    let value = match step {
        Step::Op(step) => op_value(context, module, step, scope, stored_numbers, axes)?,
        Step::Chunk { operand, groups, .. } => {
            let ty = &context.graph.node(*operand).ty;
            let axis = whole(ty.axis(Axis::Channel).map_or(1, |at| at + 1) as u64);
            let x = take(scope, *operand);
            if *groups == Number::Int(1) {
                context.helper("chunk", &quote!(#x, #axis))
            } else {
                let groups = stored(module, groups, "groups", false, stored_numbers);
                context.helper("chunk_groups", &quote!(#x, #axis, #groups))
            }
        }
        Step::Call(step) => call_value(context, module, step, scope, axes)?,
        Step::Loop(step) => return Ok((None, loop_statements(context, module, step, scope, axes)?)),
    };
    Ok((Some(value), TokenStream::new()))
}

fn op_value(
    context: &mut Context<'_>,
    module: &Module,
    step: &OpStep,
    scope: &mut Values,
    stored: &mut Vec<Stored>,
    axes: &Axes,
) -> Result<TokenStream, EmitError> {
    let graph = context.graph;
    let Some(op) = graph.node(step.node).op() else { return Ok(quote!()) };
    let mut taken = FxHashMap::default();
    // The batch of the operand that has all of it is read before that operand is given away.
    let mut spread_to: Vec<(usize, TokenStream)> = vec![];
    for (at, spread) in step.spreads.iter().enumerate() {
        if let Some(Spread { like, .. }) = spread
            && let Some(like) = step.operands.get(*like)
        {
            let name = ident(scope.name(*like));
            scope.read(*like);
            spread_to.push((at, quote!(#name.dims()[0])));
        }
    }
    // An operand whose batch is read later in the expression must not be moved before.
    for (at, operand) in step.operands.iter().enumerate() {
        let read_later = spread_to.iter().any(|(to, _)| {
            step.spreads.get(*to).copied().flatten().is_some_and(|spread| spread.like == at && *to > at)
        });
        let mut x = take(scope, *operand);
        if read_later {
            let name = ident(scope.name(*operand));
            x = quote!(#name.clone());
        }
        if let Some((_, batch)) = spread_to.iter().find(|(to, _)| *to == at) {
            let each = step.spreads.get(at).copied().flatten().is_some_and(|spread| spread.each);
            x = context.helper(if each { "repeat_each" } else { "repeat_all" }, &quote!(#x, #batch));
        }
        taken.insert(at, x);
    }
    let place = step.place.map(|place| field(module, place));
    let mut call = Call { context, graph, step, module, stored, taken, place, axes };
    ops::call(op, &mut call)
}

/// What is behind the values in a call: sizes, and the device where no value tells it.
fn further(context: &Context<'_>, module: &Module, callee: &Module, sizes: &[Size], axes: &Axes) -> Vec<TokenStream> {
    let mut further: Vec<TokenStream> = sizes.iter().map(|size| render_size(size, axes, false)).collect();
    if context.takes_device(callee) {
        further.push(if module.inputs.is_empty() { quote!(device) } else { quote!(&device) });
    }
    further
}

fn call_value(
    context: &mut Context<'_>,
    module: &Module,
    step: &CallStep,
    scope: &mut Values,
    axes: &Axes,
) -> Result<TokenStream, EmitError> {
    let callee = context.module(step.module)?;
    let grouped = context.grouped(&callee);
    let mut arguments: Vec<TokenStream> = vec![];
    let mut skips: Vec<TokenStream> = vec![];
    for (operand, port) in step.operands.iter().zip(&callee.inputs) {
        let list = if grouped.contains(&port.node) { &mut skips } else { &mut arguments };
        list.push(take(scope, *operand));
    }
    let mut behind = further(context, module, &callee, &step.sizes, axes);
    if !skips.is_empty() {
        let at = step.sizes.len().min(behind.len());
        behind.insert(at, quote!([#(#skips),*]));
    }
    arguments.extend(behind);
    Ok(match step.place {
        Some(place) => {
            let field = field(module, place);
            quote!(#field.forward(#(#arguments),*))
        }
        None => {
            let name = ident(&field_name(&callee.name));
            quote!(#name(#(#arguments),*))
        }
    })
}

fn loop_statements(
    context: &mut Context<'_>,
    module: &Module,
    step: &LoopStep,
    scope: &mut Values,
    axes: &Axes,
) -> Result<TokenStream, EmitError> {
    let graph = context.graph;
    let callee = context.module(step.module)?;
    let mut statements = TokenStream::new();
    let firsts: Vec<TokenStream> = step
        .operands
        .iter()
        .map(|(operand, result)| match result {
            Some(_) => take(scope, *operand),
            None => quote!(),
        })
        .collect();
    let mut carried: Vec<(usize, proc_macro2::Ident)> = vec![];
    for ((operand, result), first) in step.operands.iter().zip(&firsts) {
        let Some(result) = result else { continue };
        let Some(node) = step.results.get(*result) else { continue };
        let inherited = scope.names.get(operand).cloned();
        let own = graph.node(*node).name.as_deref().map(str::to_owned);
        let before = ident(scope.name(*operand));
        let name = ident(&scope.bind(*node, &inherited.or(own).unwrap_or_else(|| "h".to_owned())));
        let same = name == first.to_string() && before == name;
        statements.extend(if same { quote!(let mut #name = #name;) } else { quote!(let mut #name = #first;) });
        carried.push((*result, name));
    }
    let arguments: Vec<TokenStream> = step
        .operands
        .iter()
        .map(|(operand, result)| match result {
            Some(result) => {
                let name = carried.iter().find(|(own, _)| own == result).map(|(_, name)| name.clone());
                quote!(#name)
            }
            None => {
                scope.read(*operand);
                let name = ident(scope.name(*operand));
                quote!(#name.clone())
            }
        })
        .collect();
    let grouped = context.grouped(&callee);
    let mut skips: Vec<TokenStream> = vec![];
    let mut named: Vec<TokenStream> = vec![];
    for (argument, port) in arguments.into_iter().zip(&callee.inputs) {
        if grouped.contains(&port.node) { &mut skips } else { &mut named }.push(argument);
    }
    let mut arguments = named;
    let mut behind = further(context, module, &callee, &step.sizes, axes);
    if !skips.is_empty() {
        let at = step.sizes.len().min(behind.len());
        behind.insert(at, quote!([#(#skips),*]));
    }
    arguments.extend(behind);
    let list = ident(module.fields.get(step.field).map_or("unknown", |field| &field.name));
    carried.sort_by_key(|(result, _)| *result);
    let names: Vec<&proc_macro2::Ident> = carried.iter().map(|(_, name)| name).collect();
    let targets = match names.as_slice() {
        [only] => quote!(#only),
        many => quote!((#(#many),*)),
    };
    statements.extend(quote!(for block in &self.#list { #targets = block.forward(#(#arguments),*); }));
    Ok(statements)
}
