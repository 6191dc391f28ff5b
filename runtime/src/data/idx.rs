//! The IDX format of MNIST: two zeros, a type, a rank, sizes, elements, all big-endian.

use super::{Arrays, Elements};
use crate::error::RunError;
use std::path::Path;

pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Arrays, RunError> {
    let broken = |reason: &str| RunError::file(path, format!("this is not a sound IDX file: {reason}"));
    let [0, 0, kind, rank, rest @ ..] = bytes else { return Err(broken("it is too short for a header")) };
    let (sizes, data) =
        rest.split_at_checked(usize::from(*rank) * 4).ok_or_else(|| broken("it is too short for its sizes"))?;
    let (sizes, _) = sizes.as_chunks::<4>();
    let shape: Vec<usize> = sizes.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    let width = match kind {
        0x08 => 1,
        0x0d => 4,
        _ => return Err(broken("its elements are neither bytes nor 32-bit floats")),
    };
    let length = shape.iter().try_fold(width, |length: usize, size| length.checked_mul(*size));
    if length != Some(data.len()) {
        return Err(broken("its sizes do not fit its length"));
    }
    if *kind == 0x08 {
        // One axis means labels.
        if shape.len() == 1 {
            let labels = data.iter().map(|label| i64::from(*label)).collect();
            return Ok(Arrays { labels: Some(labels), ..Arrays::default() });
        }
        return Ok(Arrays { samples: Some((shape, Elements::U8(data.to_vec()))), ..Arrays::default() });
    }
    let (elements, _) = data.as_chunks::<4>();
    let values = elements.iter().map(|element| f32::from_be_bytes(*element)).collect();
    Ok(Arrays { samples: Some((shape, Elements::F32(values))), ..Arrays::default() })
}
