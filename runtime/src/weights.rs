//! Published weights into a module, strictly: whatever is missing, left over or misshapen is listed together, and
//! nothing is loaded unless everything fits.

use crate::error::RunError;
use crate::module::{Slot, slots};
use crate::tensors::{TensorFile, Tensors};
use archc_compiler::ir::Graph;
use archc_compiler::suggest::nearest;
use std::collections::BTreeSet;

/// Problems that are listed, at most.
const SHOWN: usize = 20;

/// Reads the parameters of a graph from a file, one after the other: at any time there are those that are loaded, and
/// the elements of one more.
pub fn reader<'f>(
    graph: &Graph,
    file: &'f TensorFile,
) -> Result<impl FnMut(&Slot) -> Result<Vec<f32>, RunError> + use<'f>, RunError> {
    let tensors = file.tensors()?;
    let problems = mismatches(graph, &tensors);
    if !problems.is_empty() {
        return Err(RunError::Weights { path: file.path().to_owned(), problems });
    }
    Ok(move |slot: &Slot| {
        let tensor = tensors.read(&slot.path)?;
        tensors.release(&slot.path);
        Ok(tensor.into_f32())
    })
}

/// Everything about the tensors of a file that does not fit the parameters of a graph.
fn mismatches(graph: &Graph, tensors: &Tensors<'_>) -> Vec<String> {
    let slots = slots(graph);
    let names = tensors.names();
    let expected: BTreeSet<&str> = slots.iter().map(|slot| slot.path.as_str()).collect();
    let unused: Vec<&str> = names.iter().map(String::as_str).filter(|name| !expected.contains(name)).collect();
    let mut problems = vec![];
    for slot in &slots {
        match tensors.describe(&slot.path) {
            None => {
                let hint = nearest(&slot.path, unused.iter().copied())
                    .map(|near| format!(" (the file has `{near}`)"))
                    .unwrap_or_default();
                problems.push(format!("  missing: `{}` {:?}{hint}", slot.path, slot.shape));
            }
            Some((shape, _)) if shape != slot.shape => {
                problems.push(format!("  shape: `{}` is {shape:?}, the model has {:?}", slot.path, slot.shape));
            }
            Some((_, dtype)) if !tensors.is_float(&slot.path) => {
                problems.push(format!("  dtype: `{}` is {dtype}, parameters are floats", slot.path));
            }
            Some(_) => {}
        }
    }
    problems.extend(unused.iter().map(|name| format!("  left over: `{name}` is no parameter of the model")));
    if problems.len() > SHOWN {
        let rest = problems.len() - SHOWN;
        problems.truncate(SHOWN);
        problems.push(format!("  and {rest} more"));
    }
    problems
}
