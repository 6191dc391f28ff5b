//! Sizes in the code of a module: axes of its inputs, and what follows from them.

use super::Size;
use super::build::Builder;
use crate::dim::Dim;
use crate::ir::NodeId;
use crate::types::{Axis, Type};

/// Factors between an axis and a size that are looked for.
const MAX_FACTOR: u64 = 128;

/// How to come by a size, from the inputs of a module; `None` if they do not tell.
pub(super) fn size_from(builder: &Builder<'_>, inputs: &[NodeId], dim: &Dim, axis: Axis) -> Option<Size> {
    let axes = axes_of(builder, inputs, axis);
    direct(&axes, dim)
        .or_else(|| dim.known().map(Size::Known))
        .or_else(|| multiple(&axes, dim))
        .or_else(|| product(&axes, dim))
}

struct Found {
    dim: Dim,
    size: Size,
}

/// Axes of the inputs, those that mean the same first.
fn axes_of(builder: &Builder<'_>, inputs: &[NodeId], axis: Axis) -> Vec<Found> {
    let mut found: Vec<(bool, Found)> = vec![];
    for (input, node) in inputs.iter().enumerate() {
        let ty: &Type = &builder.graph.node(*node).ty;
        // The number of classes is no axis of the tensor.
        for (at, own) in ty.kind.axes().iter().enumerate().filter(|(_, own)| **own != Axis::Class) {
            if let Some(dim) = ty.dim(*own) {
                // A known size that happens to be that of another axis says nothing.
                if *own != axis && dim.known().is_some() {
                    continue;
                }
                let size = Size::Axis { input, axis: at + 1 };
                found.push((*own == axis, Found { dim: dim.clone(), size }));
            }
        }
        // A batch of nothing but one axis of a sample.
        if let ([fold], false) = (ty.batch.folds.as_slice(), ty.batch.samples) {
            found.push((false, Found { dim: fold.clone(), size: Size::Axis { input, axis: 0 } }));
        }
    }
    found.sort_by_key(|(same, _)| !same);
    found.into_iter().map(|(_, found)| found).collect()
}

fn direct(axes: &[Found], dim: &Dim) -> Option<Size> {
    axes.iter().find(|found| found.dim == *dim).map(|found| found.size.clone())
}

fn multiple(axes: &[Found], dim: &Dim) -> Option<Size> {
    (2..=MAX_FACTOR).find_map(|factor| {
        let of = Dim::Known(factor);
        axes.iter().find_map(|found| {
            if found.dim.times(&of).as_ref() == Ok(dim) {
                Some(Size::Product(vec![found.size.clone(), Size::Known(factor)]))
            } else if dim.times(&of).as_ref() == Ok(&found.dim) {
                Some(Size::Quotient(Box::new(found.size.clone()), factor))
            } else {
                None
            }
        })
    })
}

fn product(axes: &[Found], dim: &Dim) -> Option<Size> {
    for a in axes {
        for b in axes {
            let Ok(both) = a.dim.times(&b.dim) else { continue };
            if both == *dim {
                return Some(Size::Product(vec![a.size.clone(), b.size.clone()]));
            }
            let quotient =
                (2..=MAX_FACTOR * MAX_FACTOR).find(|factor| dim.times(&Dim::Known(*factor)).as_ref() == Ok(&both));
            if let Some(factor) = quotient {
                let product = Size::Product(vec![a.size.clone(), b.size.clone()]);
                return Some(Size::Quotient(Box::new(product), factor));
            }
        }
    }
    None
}
