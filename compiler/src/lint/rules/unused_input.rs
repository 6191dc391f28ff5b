//! `structure/unused-input`

use crate::dim::{Dim, Symbol};
use crate::ir::NodeId;
use crate::lint::{Context, Report};
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Finds inputs of a model that no output depends on.
    ///
    /// ## Why is this bad
    ///
    /// A condition that is passed in and read by nobody looks, from outside, like one that works: the model takes the
    /// class or the text, trains, and ignores it. Guidance of 7.5 between two predictions that are equal adds 7.5 times
    /// 0.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Ignores(x: tokens[16, 32], y: label[10]) -> tokens[16, 32] { x -> linear(32) @out }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Listens(x: tokens[16, 32], y: label[10]) -> tokens[16, 32] { (x + y -> embedding(32) @class) -> linear(32) @out }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: it may be left over, or what should have read it may be missing; and callers pass it.
    ///
    /// ## References
    ///
    /// * Ho & Salimans, *Classifier-Free Diffusion Guidance*, 2022: the two predictions have to differ.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#5330: `UNet2DModel` ignores labels unless an embedding is configured; a user found out
    ///   after some time, and huggingface/diffusers#5401 makes it an error.
    /// * huggingface/diffusers#6911: `UNet3DConditionModel` takes `class_labels` and reads them nowhere.
    /// * Project-MONAI/GenerativeModels#174: a context is accepted and not used by a model made without conditioning;
    ///   an error is asked for.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs FILE` with two values of the input prints the same statistics of the output.
    "structure/unused-input", Warning
    pub struct UnusedInput {
        input: Span,
        name: String,
    }

    check(context) {
        let graph = context.graph;
        let reached = context.reached();
        let found = graph.inputs.iter().filter_map(|input| {
            // An input without elements is switched off: `class_labels: vector[0]`.
            let is_empty = graph.node(input.node).ty.dims.contains(&Dim::Known(0));
            let finding = UnusedInput { input: context.place(input.node), name: input.name.to_string() };
            let is_unused = !is_empty && !reached.contains(&input.node) && !gives_a_size(context, input.node);
            is_unused.then_some((input.node, finding))
        });
        found.collect()
    }

    report(finding, _context) {
        Report {
            message: format!("no output depends on `{}`", finding.name),
            labels: vec![(finding.input, "taken, and never heard".to_owned())],
            notes: vec![],
            help: Some("use it, or leave it out of the inputs".to_owned()),
        }
    }
}

/// Whether something that is read has a size that only this input tells.
fn gives_a_size(context: &Context<'_>, input: NodeId) -> bool {
    let graph = context.graph;
    let symbols = |node: NodeId| graph.node(node).ty.dims.iter().flat_map(Dim::symbols).collect::<Vec<Symbol>>();
    let inputs = graph.inputs.iter().map(|input| input.node).filter(|own| context.reached().contains(own));
    let told: Vec<Symbol> = inputs.flat_map(symbols).collect();
    let own: Vec<Symbol> = symbols(input).into_iter().filter(|symbol| !told.contains(symbol)).collect();
    !own.is_empty() && context.reached().iter().any(|node| symbols(*node).iter().any(|symbol| own.contains(symbol)))
}
