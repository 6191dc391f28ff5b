//! A module as Python: a class, or a function where nothing has to be kept.

use super::numbers::Numbers;
use super::text::{docstring, ident, lines};
use super::{Context, forward, numbers::float, parts};
use crate::emit::EmitError;
use crate::emit::structure::{Hyperparameter, Module};
use crate::emit::values::{shapes, takes_device};
use crate::ir::ROOT;
use crate::ops::attribute::Shown;

pub(super) fn item(context: &mut Context<'_>, module: &Module) -> Result<String, EmitError> {
    let places = parts::places(context, module)?;
    let body = match module.outputs.is_empty() {
        true => None,
        false => Some(forward::body(context, module, &places)?),
    };
    if module.is_function() {
        let Some(body) = body else { return Ok(String::new()) };
        let name = context.function(&module.name);
        let docs = format!("{}\n\n{}", module.docs.trim(), shapes(context.graph, module).join("\n"));
        return Ok(format!(
            "{}{}{}",
            signature(context, module, &name, false),
            docstring(&docs, 4),
            lines(&body.statements, 4)
        ));
    }
    let numbers = Numbers { hyperparameters: &module.hyperparameters };
    let mut text = format!("class {}(nn.Module):\n{}\n", module.name, docstring(&class_docs(module), 4));
    let is_model = module.scope == ROOT;
    let mut constants = vec![];
    if is_model {
        let outputs = context.graph.outputs.iter().map(|output| output.name.to_string()).collect::<Vec<_>>();
        constants.push(format!("OUTPUTS = {}", names(&outputs)));
    }
    if !places.inlined.is_empty() {
        constants.push("# Parts that the names of parameters in a checkpoint leave out.".to_owned());
        constants.push(format!("INLINE = {}", names(&places.inlined)));
    }
    if !constants.is_empty() {
        text.push_str(&lines(&constants, 4));
        text.push('\n');
    }
    let arguments: String = module.hyperparameters.iter().map(argument).collect();
    let star = if arguments.is_empty() { "" } else { ", *" };
    text.push_str(&lines(&[format!("def __init__(self{star}{arguments}):")], 4));
    let mut made = vec!["super().__init__()".to_owned()];
    made.extend(places.made.iter().cloned());
    let stored = body.iter().flat_map(|body| &body.stored);
    made.extend(stored.map(|own| format!("self.{} = {}", own.name, numbers.render(&own.number, own.wanted))));
    context.inlines |= !places.inlined.is_empty();
    if is_model && context.inlines {
        made.push(context.helper("publish", "self"));
    }
    text.push_str(&lines(&made, 8));
    if let Some(body) = body {
        text.push('\n');
        text.push_str(&indented(&signature(context, module, "forward", true)));
        text.push_str(&docstring(&format!("Shapes:\n\n{}", shapes(context.graph, module).join("\n")), 8));
        text.push_str(&lines(&body.statements, 8));
    }
    Ok(text)
}

/// A tuple of texts.
fn names(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    if quoted.len() == 1 { format!("({},)", quoted.concat()) } else { format!("({})", quoted.join(", ")) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn class_docs(module: &Module) -> String {
    let described = module.hyperparameters.iter().filter(|own| !own.docs.is_empty());
    let described: Vec<String> =
        described.map(|own| format!("* `{}`: {}", ident(&own.name), own.docs.trim().replace('\n', " "))).collect();
    match (module.docs.trim(), described.is_empty()) {
        ("", true) => format!("The module `{}`.", module.name),
        ("", false) => format!("The module `{}`.\n\n{}", module.name, described.join("\n")),
        (docs, true) => docs.to_owned(),
        (docs, false) => format!("{docs}\n\n{}", described.join("\n")),
    }
}

fn signature(context: &Context<'_>, module: &Module, name: &str, is_method: bool) -> String {
    let mut arguments: Vec<String> = if is_method { vec!["self".to_owned()] } else { vec![] };
    arguments.extend(module.inputs.iter().map(|port| format!("{}: Tensor", ident(&port.name))));
    arguments.extend(module.sizes.iter().map(|size| format!("{}: int", ident(size))));
    if takes_device(context.graph, context.structure, module) {
        arguments.push("device: torch.device".to_owned());
    }
    let result = match module.outputs.len() {
        1 => "Tensor".to_owned(),
        _ => "tuple[Tensor, ...]".to_owned(),
    };
    lines(&[format!("def {name}({}) -> {result}:", arguments.join(", "))], 0)
}

fn argument(own: &Hyperparameter) -> String {
    let ty = match &own.value {
        Shown::Float(_) => "float",
        Shown::List(_) => "tuple",
        Shown::Int(_) | Shown::Bool(_) | Shown::Text(_) => "int",
    };
    // Lists are only read.
    let default = own.default.as_ref().map(|default| format!(" = {}", literal(default)));
    format!(", {}: {ty}{}", ident(&own.name), default.unwrap_or_default())
}

fn literal(value: &Shown) -> String {
    match value {
        Shown::List(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            if items.len() == 1 { format!("({},)", items.concat()) } else { format!("({})", items.join(", ")) }
        }
        Shown::Float(value) => float(*value),
        Shown::Bool(true) => "True".to_owned(),
        Shown::Bool(false) => "False".to_owned(),
        Shown::Int(_) => value.to_string(),
        Shown::Text(text) => format!("{text:?}"),
    }
}
