//! Arrays of NumPy: `.npy`, and `.npz` archives of them.

use super::{Arrays, Elements};
use crate::error::RunError;
use crate::host::{HostData, HostTensor};
use npyz::{NpyFile, Order};
use std::io::{Cursor, Read};
use std::path::Path;

/// Names under which an archive may hold samples and labels; what else it holds belongs to inputs of the same name.
const SAMPLES: [&str; 5] = ["samples", "images", "data", "x", "arr_0"];
const LABELS: [&str; 4] = ["labels", "targets", "y", "arr_1"];
/// A size in an archive is only a claim until it has been unpacked.
const LARGEST: u64 = 64 << 30;

pub(super) fn array(path: &Path, bytes: &[u8]) -> Result<Arrays, RunError> {
    let (shape, data) = parsed(bytes).map_err(|reason| RunError::file(path, reason))?;
    Ok(Arrays { samples: Some((shape, data.into_elements())), ..Arrays::default() })
}

pub(super) fn archive(path: &Path, bytes: Vec<u8>) -> Result<Arrays, RunError> {
    let broken = |reason: String| RunError::file(path, reason);
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(error.to_string()))?;
    let mut arrays = Arrays::default();
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(|error| broken(error.to_string()))?;
        let name = entry.name().trim_end_matches(".npy").to_owned();
        let mut bytes = vec![];
        entry.take(LARGEST).read_to_end(&mut bytes).map_err(|error| broken(format!("`{name}`: {error}")))?;
        let (shape, data) = parsed(&bytes).map_err(|reason| broken(format!("`{name}`: {reason}")))?;
        if SAMPLES.contains(&name.as_str()) {
            arrays.samples = Some((shape, data.into_elements()));
        } else if LABELS.contains(&name.as_str()) {
            let whole = data.into_whole().ok_or_else(|| broken(format!("`{name}` holds no whole numbers")))?;
            arrays.labels = Some(whole);
        } else {
            arrays.conditions.insert(name, HostTensor { shape, data: data.into_host() });
        }
    }
    if arrays.samples.is_none() {
        return Err(broken(format!("it holds no samples; they are called one of {}", SAMPLES.join(", "))));
    }
    Ok(arrays)
}

/// Numbers of an array.
enum Numbers {
    Bytes(Vec<u8>),
    Whole(Vec<i64>),
    Floats(Vec<f32>),
}

impl Numbers {
    fn into_elements(self) -> Elements {
        match self {
            Numbers::Bytes(data) => Elements::U8(data),
            Numbers::Whole(data) => Elements::F32(data.into_iter().map(|value| value as f32).collect()),
            Numbers::Floats(data) => Elements::F32(data),
        }
    }

    fn into_host(self) -> HostData {
        match self {
            Numbers::Bytes(data) => HostData::I64(data.into_iter().map(i64::from).collect()),
            Numbers::Whole(data) => HostData::I64(data),
            Numbers::Floats(data) => HostData::F32(data),
        }
    }

    fn into_whole(self) -> Option<Vec<i64>> {
        match self {
            Numbers::Bytes(data) => Some(data.into_iter().map(i64::from).collect()),
            Numbers::Whole(data) => Some(data),
            Numbers::Floats(_) => None,
        }
    }
}

fn parsed(bytes: &[u8]) -> Result<(Vec<usize>, Numbers), String> {
    let file = NpyFile::new(bytes).map_err(|error| error.to_string())?;
    if file.order() != Order::C {
        return Err("it is in Fortran order; save it with `np.ascontiguousarray`".to_owned());
    }
    let shape: Vec<usize> = file.shape().iter().map(|size| *size as usize).collect();
    let dtype = file.dtype().descr();
    let name = dtype.trim_matches('\'').trim_start_matches(['<', '|', '=']).to_owned();
    fn all<T: npyz::Deserialize>(file: NpyFile<&[u8]>) -> Result<Vec<T>, String> {
        file.into_vec::<T>().map_err(|error| error.to_string())
    }
    let numbers = match name.as_str() {
        "u1" => Numbers::Bytes(all(file)?),
        "i8" => Numbers::Whole(all(file)?),
        "i4" => Numbers::Whole(all::<i32>(file)?.into_iter().map(i64::from).collect()),
        "i2" => Numbers::Whole(all::<i16>(file)?.into_iter().map(i64::from).collect()),
        "f4" => Numbers::Floats(all(file)?),
        "f8" => Numbers::Floats(all::<f64>(file)?.into_iter().map(|value| value as f32).collect()),
        _ => {
            return Err(format!(
                "its elements are {dtype}; bytes, whole numbers of 16 to 64 bits and floats can be read"
            ));
        }
    };
    Ok((shape, numbers))
}
