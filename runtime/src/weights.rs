//! Published weights into a module, strictly: whatever is missing, left over or misshapen is listed together, and
//! nothing is loaded unless everything fits.

mod hints;

use crate::error::RunError;
use crate::host::HostTensor;
use crate::module::{Slot, slots};
use crate::tensors::{TensorFile, Tensors};
use archc_compiler::ir::Graph;
use archc_compiler::suggest::nearest;
use hints::Mismatch;
use std::collections::{BTreeMap, BTreeSet};

/// Problems that are listed, at most.
const SHOWN: usize = 20;

/// Names of attention in autoencoders of early versions of diffusers, and what they are today.
const EARLIER: [(&str, &str); 4] =
    [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];

/// The other name of the table of words of T5; some files hold it twice.
const TIED: (&str, &str) = ("encoder.embed_tokens.weight", "shared.weight");

/// What transformers leaves out of the names of a text tower from version 5 on.
const TOWER: &str = "text_model.";

/// The weights of a part of a graph.
#[derive(Debug)]
pub struct PartWeights {
    /// What stands before the names of the files in the graph, with its dot; empty where the part is the whole graph.
    pub prefix: String,
    /// Each tensor is in one of them.
    pub files: Vec<TensorFile>,
}

/// Reads the parameters of a graph from a file, one after the other: at any time there are those that are loaded, and
/// the elements of one more.
pub fn reader<'f>(
    graph: &Graph,
    file: &'f TensorFile,
) -> Result<impl FnMut(&Slot) -> Result<Vec<f32>, RunError> + use<'f>, RunError> {
    let tensors = file.tensors()?;
    let names = tensors.names().into_iter().map(|name| (name.clone(), (0, name))).collect();
    let shelf = Shelf { files: vec![tensors], names };
    let slots = slots(graph);
    let left_over = shelf.left_over(&slots);
    fail_on(file, mismatches(&slots, &shelf, &left_over))?;
    Ok(move |slot: &Slot| shelf.read(&slot.path))
}

/// The same from the files of its parts. What is known of published files is excused: names of earlier and later versions,
/// whole numbers, which are no weights, and the other half of an autoencoder.
pub fn reader_of_parts<'f>(
    graph: &Graph,
    parts: &'f [PartWeights],
) -> Result<impl FnMut(&Slot) -> Result<Vec<f32>, RunError> + use<'f>, RunError> {
    let mut shelves = vec![];
    for part in parts {
        let mut own = slots(graph);
        own.retain(|slot| slot.path.starts_with(&part.prefix));
        own.iter_mut().for_each(|slot| slot.path.drain(..part.prefix.len()).for_each(drop));
        let shelf = Shelf::of_part(part, &own)?;
        let firsts: BTreeSet<&str> = own.iter().map(|slot| first(&slot.path)).collect();
        let mut left_over = shelf.left_over(&own);
        left_over.retain(|name| shelf.is_float(name) && firsts.contains(first(name)));
        if let Some(file) = part.files.first() {
            fail_on(file, mismatches(&own, &shelf, &left_over))?;
        }
        shelves.push((part.prefix.as_str(), shelf));
    }
    Ok(move |slot: &Slot| {
        let found = shelves.iter().find_map(|(prefix, shelf)| Some((slot.path.strip_prefix(prefix)?, shelf)));
        let Some((name, shelf)) = found else {
            return Err(RunError::Unsupported(format!("there is no folder for `{}`", slot.path)));
        };
        shelf.read(name)
    })
}

fn fail_on(file: &TensorFile, problems: Vec<String>) -> Result<(), RunError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(RunError::Weights { path: file.path().to_owned(), problems })
}

/// The module that a name starts with.
fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The tensors of some files by the names that a graph has for them.
struct Shelf<'f> {
    files: Vec<Tensors<'f>>,
    /// To the file and the name in it.
    names: BTreeMap<String, (usize, String)>,
}

impl<'f> Shelf<'f> {
    fn of_part(part: &'f PartWeights, slots: &[Slot]) -> Result<Self, RunError> {
        let wanted: BTreeSet<&str> = slots.iter().map(|slot| slot.path.as_str()).collect();
        let files: Vec<Tensors<'f>> = part.files.iter().map(TensorFile::tensors).collect::<Result<_, _>>()?;
        let mut names = BTreeMap::new();
        for (at, file) in files.iter().enumerate() {
            for own in file.names() {
                let today = EARLIER.iter().fold(own.clone(), |name, (before, now)| name.replace(before, now));
                let others = [today, format!("{TOWER}{own}"), own.replace(TIED.0, TIED.1)];
                let known =
                    others.into_iter().find(|name| !wanted.contains(own.as_str()) && wanted.contains(name.as_str()));
                names.insert(known.unwrap_or_else(|| own.clone()), (at, own));
            }
        }
        Ok(Self { files, names })
    }

    fn find(&self, name: &str) -> Option<(&Tensors<'f>, &str)> {
        let (at, own) = self.names.get(name)?;
        Some((self.files.get(*at)?, own))
    }

    fn describe(&self, name: &str) -> Option<(Vec<usize>, String)> {
        self.find(name).and_then(|(file, own)| file.describe(own))
    }

    fn is_float(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(file, own)| file.is_float(own))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, RunError> {
        let missing = || RunError::Unsupported(format!("there is no tensor `{name}`"));
        let (file, own) = self.find(name).ok_or_else(missing)?;
        let tensor = file.read(own)?;
        file.release(own);
        Ok(HostTensor::into_f32(tensor))
    }

    /// Names that are no parameters.
    fn left_over(&self, slots: &[Slot]) -> Vec<&str> {
        let expected: BTreeSet<&str> = slots.iter().map(|slot| slot.path.as_str()).collect();
        self.names.keys().map(String::as_str).filter(|name| !expected.contains(name)).collect()
    }
}

/// Everything about tensors that does not fit parameters.
fn mismatches(slots: &[Slot], shelf: &Shelf<'_>, left_over: &[&str]) -> Vec<String> {
    let mut problems = vec![];
    let shape = |name: &str| shelf.describe(name).map_or(vec![], |(shape, _)| shape);
    let left = left_over.iter().map(|name| (*name, shape(name))).collect();
    let mut mismatch = Mismatch { left_over: left, ..Mismatch::default() };
    for slot in slots {
        match shelf.describe(&slot.path) {
            None => {
                let hint = nearest(&slot.path, left_over.iter().copied())
                    .map(|near| format!(" (the file has `{near}`)"))
                    .unwrap_or_default();
                mismatch.missing.push((&slot.path, slot.shape.clone()));
                problems.push(format!("  missing: `{}` {:?}{hint}", slot.path, slot.shape));
            }
            Some((shape, _)) if shape != slot.shape => {
                problems.push(format!("  shape: `{}` is {shape:?}, the model has {:?}", slot.path, slot.shape));
                mismatch.misshapen.push((shape, slot.shape.clone()));
            }
            Some((_, dtype)) if !shelf.is_float(&slot.path) => {
                problems.push(format!("  dtype: `{}` is {dtype}, parameters are floats", slot.path));
            }
            Some(_) => {}
        }
    }
    problems.extend(left_over.iter().map(|name| format!("  left over: `{name}` is no parameter of the model")));
    if problems.len() > SHOWN {
        let rest = problems.len() - SHOWN;
        problems.truncate(SHOWN);
        problems.push(format!("  and {rest} more"));
    }
    problems.extend(mismatch.hints());
    problems
}
