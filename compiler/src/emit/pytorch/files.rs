//! The files of a package around the modules.

use super::{Files, Sources};
use crate::emit::EmitError;
use crate::emit::rust::package_name;
use crate::ir::Graph;
use indexmap::IndexSet;

/// What the package is.
pub(super) fn about(graph: &Graph) -> String {
    if graph.docs.is_empty() { format!("`{}`: the model {}.", graph.name(), graph.model) } else { graph.docs.clone() }
}

/// Whether a text has a word.
fn mentions(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|own| own == word)
}

/// What the classes import.
pub(super) fn imports(body: &str) -> String {
    let mut lines = vec![];
    if mentions(body, "torch") {
        lines.push("import torch");
    }
    if body.contains("F.") {
        lines.push("import torch.nn.functional as F");
    }
    lines.push("from torch import Tensor, nn");
    if body.contains("ops.") {
        lines.push("\nfrom . import ops");
    }
    format!("\n{}\n", lines.join("\n"))
}

/// What PyTorch lacks, all of it; a package gets what it uses.
const OPS: &str = include_str!("ops.py");

/// The helpers of those names and all that they call.
pub(super) fn ops(names: &IndexSet<&'static str>) -> String {
    let blocks: Vec<&str> = OPS.trim_end().split("\n\n\n").skip(1).collect();
    let name = |block: &str| -> String {
        let head = block.split_once(' ').map_or("", |(_, rest)| rest);
        head.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut wanted: IndexSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut at = 0;
    while let Some(own) = wanted.get_index(at).cloned() {
        let source = blocks.iter().find(|block| name(block) == own);
        let called = blocks
            .iter()
            .map(|block| name(block))
            .filter(|other| *other != own && source.is_some_and(|source| source.contains(&format!("{other}("))));
        wanted.extend(called.collect::<Vec<_>>());
        at += 1;
    }
    let kept: Vec<&str> = blocks.into_iter().filter(|block| wanted.contains(&name(block))).collect();
    let body = kept.join("\n\n\n");
    let mut lines = vec!["\"\"\"What PyTorch lacks.\"\"\"\n"];
    if body.contains("math.") {
        lines.push("import math\n");
    }
    if body.contains("torch.") {
        lines.push("import torch");
    }
    if body.contains("F.") {
        lines.push("import torch.nn.functional as F");
    }
    let from = match (
        mentions(&body, "Tensor"),
        body.contains("nn.init") || body.contains("nn.Module") || body.contains("nn.Parameter"),
    ) {
        (true, true) => "from torch import Tensor, nn",
        (true, false) => "from torch import Tensor",
        (false, true) => "from torch import nn",
        (false, false) => "",
    };
    lines.push(from);
    if body.is_empty() {
        return "\"\"\"What PyTorch lacks.\"\"\"\n".to_owned();
    }
    format!("{}\n\n\n{body}\n", lines.join("\n").trim_end())
}

pub(super) fn assemble(graph: &Graph, sources: &Sources) -> Result<Files, EmitError> {
    let name = package_name(graph.name());
    let model = &sources.model;
    let init = format!("\"\"\"{}\"\"\"\n\nfrom .model import {model}\n\n__all__ = [\"{model}\"]\n", graph.name());
    let requirements = if sources.process.is_some() { "numpy\npillow\n" } else { "" };
    let mut files = vec![
        ("README.md".to_owned(), readme(graph, sources, &name)),
        ("requirements.txt".to_owned(), format!("{requirements}safetensors\ntorch>=2.6\n")),
        (format!("{name}/__init__.py"), init),
        (format!("{name}/model.py"), sources.modules.clone()),
        (format!("{name}/ops.py"), sources.ops.clone()),
    ];
    if let Some(process) = &sources.process {
        files.push((format!("{name}/process.py"), process.clone()));
        files.push(("train.py".to_owned(), TRAIN.replace("@PACKAGE@", &name).replace("@MODEL@", model)));
    }
    Ok(files)
}

/// The script that trains a model, but for the names.
const TRAIN: &str = include_str!("train.py");

/// How a model is trained.
fn training(graph: &Graph, sources: &Sources, name: &str) -> String {
    if sources.process.is_some() {
        return format!(
            r#"
`train.py` trains it by the process of the spec, which stands in `{name}/process.py`:

```sh
python train.py --data images --out run
torchrun --nproc-per-node 8 train.py --data images --out run --fsdp --bf16
```

Without `--fsdp` every device holds all parameters (DDP). Checkpoints hold `weights.safetensors` and their running average,
`average.safetensors`; `archc run`, `archc sample` and the emitted Rust read both.
"#
        );
    }
    let reason = match graph.process {
        None => "the spec declares no `process`",
        Some(_) => "the process of the spec has no input that noise is added to",
    };
    format!("\nThere is no script for training: {reason}.\n")
}

fn readme(graph: &Graph, sources: &Sources, name: &str) -> String {
    let (about, parameters) = (about(graph), graph.parameter_elements());
    let (model, training) = (&sources.model, training(graph, sources, name));
    let inputs = sources.inputs.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let outputs = graph.outputs.iter().map(|output| output.name.to_string()).collect::<Vec<_>>().join(", ");
    format!(
        r#"# {name}

{about}

{parameters} parameters, on [PyTorch](https://pytorch.org).

```python
from safetensors.torch import load_file, save_file
from {name} import {model}

model = {model}()
model.load_state_dict(load_file("weights.safetensors"))
{outputs} = model({inputs})
save_file(model.state_dict(), "weights.safetensors")
```

Arguments of `{model}` are the hyperparameters, with the values of the spec as defaults. Which layers there are is fixed: lists
whose length is a hyperparameter grow and shrink with it, other lengths, optional parts and activations stay as they are.
Parameters start as the spec says, and the state has the names under which weights are published.
{training}
| file | holds |
|---|---|
| `{name}/model.py` | the model and its blocks |
| `{name}/ops.py` | what PyTorch lacks |

Written by archc from a spec; it is yours to change, and depends on nothing but PyTorch.
"#
    )
}
