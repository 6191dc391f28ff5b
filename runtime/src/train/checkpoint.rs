//! States of training on disk: safetensors with a checksum in the header.
//!
//! A file appears whole or not at all, and a few older ones are kept, so that whenever training is killed it goes on from a
//! state that was saved. One that was damaged later is found out by its checksum.

use crate::error::RunError;
use crate::host::{HostData, HostTensor};
use crate::tensors::{self, TensorFile};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// A state after so many updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub step: u64,
    pub tensors: BTreeMap<String, HostTensor>,
}

/// Saves a state under a name made of its step, and removes all but the newest `keep`.
///
/// `model` is a fingerprint of the model that the state belongs to.
pub fn save(
    folder: &Path,
    step: u64,
    tensors: &BTreeMap<String, HostTensor>,
    model: &str,
    keep: usize,
) -> Result<PathBuf, RunError> {
    let path = folder.join(format!("step-{step:08}.safetensors"));
    let remarks = HashMap::from([
        ("step".to_owned(), step.to_string()),
        ("model".to_owned(), model.to_owned()),
        ("checksum".to_owned(), checksum(step, tensors)),
    ]);
    tensors::write_with(&path, tensors, Some(remarks))?;
    let saved = list(folder)?;
    for old in saved.iter().take(saved.len().saturating_sub(keep.max(1))) {
        // One that cannot be removed does no harm.
        let _ = std::fs::remove_file(old);
    }
    Ok(path)
}

/// The newest sound state in a folder, and what is wrong with newer ones.
pub fn newest(folder: &Path, model: &str) -> Result<(Option<Checkpoint>, Vec<RunError>), RunError> {
    let mut damaged = vec![];
    for path in list(folder)?.iter().rev() {
        match load(path, model) {
            Ok(found) => return Ok((Some(found), damaged)),
            Err(Unusable::Damaged(error)) => damaged.push(error),
            Err(Unusable::Foreign(error)) => return Err(error),
        }
    }
    Ok((None, damaged))
}

enum Unusable {
    Damaged(RunError),
    Foreign(RunError),
}

impl From<RunError> for Unusable {
    fn from(error: RunError) -> Self {
        Self::Damaged(error)
    }
}

fn load(path: &Path, model: &str) -> Result<Checkpoint, Unusable> {
    let file = TensorFile::open(path)?;
    let remarks = file.remarks()?;
    let remark = |name: &str| {
        let missing = || RunError::file(path, format!("this checkpoint does not say its {name}"));
        remarks.get(name).ok_or_else(missing)
    };
    let step: u64 =
        remark("step")?.parse().map_err(|_| RunError::file(path, "this checkpoint does not say its step"))?;
    let read = file.tensors()?;
    let mut found = BTreeMap::new();
    for name in read.names() {
        found.insert(name.clone(), read.read(&name)?);
        read.release(&name);
    }
    if *remark("checksum")? != checksum(step, &found) {
        return Err(RunError::file(path, "this checkpoint is damaged: its checksum does not fit").into());
    }
    if remark("model")? != model {
        return Err(Unusable::Foreign(RunError::file(path, "this is a checkpoint of another model")));
    }
    Ok(Checkpoint { step, tensors: found })
}

/// Checkpoints in a folder, the oldest first.
fn list(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).map_err(|error| RunError::file(folder, error))? {
        let path = entry.map_err(|error| RunError::file(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("step-") && name.ends_with(".safetensors") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// XXH3 of the step, and of names, shapes and elements.
fn checksum(step: u64, tensors: &BTreeMap<String, HostTensor>) -> String {
    let mut hash = Xxh3::new();
    hash.update(&step.to_le_bytes());
    tensors.iter().for_each(|(name, tensor)| add(&mut hash, name, tensor));
    format!("{:016x}", hash.digest())
}

/// Name, shape and elements of a tensor.
pub(crate) fn add(hash: &mut Xxh3, name: &str, tensor: &HostTensor) {
    hash.update(name.as_bytes());
    for size in &tensor.shape {
        hash.update(&(*size as u64).to_le_bytes());
    }
    match &tensor.data {
        HostData::F32(values) => values.iter().for_each(|value| hash.update(&value.to_le_bytes())),
        HostData::I64(values) => values.iter().for_each(|value| hash.update(&value.to_le_bytes())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where something is missing")]
mod tests {
    use super::*;

    fn state(value: f32) -> BTreeMap<String, HostTensor> {
        BTreeMap::from([("weights.a".to_owned(), HostTensor::f32(vec![2], vec![value, -value]))])
    }

    #[test]
    fn the_newest_sound_state_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for step in 1..=4 {
            save(folder.path(), step, &state(step as f32), "m", 2).unwrap();
        }
        assert_eq!(list(folder.path()).unwrap().len(), 2);
        let (found, damaged) = newest(folder.path(), "m").unwrap();
        assert_eq!(found, Some(Checkpoint { step: 4, tensors: state(4.0) }));
        assert!(damaged.is_empty());

        // A flipped bit, and a file cut short.
        let newest_path = list(folder.path()).unwrap().pop().unwrap();
        let mut bytes = std::fs::read(&newest_path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&newest_path, &bytes).unwrap();
        let (found, damaged) = newest(folder.path(), "m").unwrap();
        assert_eq!(found.unwrap().step, 3);
        assert!(damaged[0].to_string().contains("checksum"), "{}", damaged[0]);
        std::fs::write(&newest_path, &bytes[..last - 3]).unwrap();
        assert_eq!(newest(folder.path(), "m").unwrap().0.unwrap().step, 3);
    }

    #[test]
    fn a_state_of_another_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), 1, &state(1.0), "m", 2).unwrap();
        let error = newest(folder.path(), "other").unwrap_err();
        assert!(error.to_string().contains("another model"), "{error}");
    }
}
