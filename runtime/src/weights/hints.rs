//! What the mismatches of a file say together: that it is of another framework, another publisher, or another wrapper.

use std::collections::BTreeMap;

/// A tensor by its name and shape.
pub(super) type Named<'a> = (&'a str, Vec<usize>);

/// What does not fit.
#[derive(Debug, Default)]
pub(super) struct Mismatch<'a> {
    /// Parameters that the file lacks.
    pub missing: Vec<Named<'a>>,
    /// Tensors that are no parameters.
    pub left_over: Vec<Named<'a>>,
    /// Parameters with the shape that the file has, and the one that the model has.
    pub misshapen: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Mismatch<'_> {
    /// One line for each cause that explains something.
    pub fn hints(&self) -> Vec<String> {
        let causes = [self.transposed(), self.kernels_first(), self.pointwise(), self.wrapped(), self.joined()];
        causes.into_iter().flatten().map(|hint| format!("  hint: {hint}")).collect()
    }

    /// How many shapes become those of the model by a change.
    fn explained(&self, change: impl Fn(&[usize]) -> Option<Vec<usize>>) -> usize {
        self.misshapen.iter().filter(|(own, wanted)| change(own).is_some_and(|changed| changed == *wanted)).count()
    }

    fn transposed(&self) -> Option<String> {
        let count = self.explained(|own| match own {
            [inner, outer] => Some(vec![*outer, *inner]),
            _ => None,
        });
        // Square matrices fit either way, and would be wrong without a word.
        (count > 0).then(|| {
            format!(
                "transposed matrices ({count}): the file stores them as [in, out], as Flax and TensorFlow do, and PyTorch's \
                 order is [out, in]; square ones are transposed too"
            )
        })
    }

    fn kernels_first(&self) -> Option<String> {
        let count = self.explained(|own| match own {
            [height, width, inner, outer] => Some(vec![*outer, *inner, *height, *width]),
            [length, inner, outer] => Some(vec![*outer, *inner, *length]),
            _ => None,
        });
        (count > 0).then(|| {
            format!(
                "kernels stored as [height, width, in, out] ({count}), as Flax and TensorFlow do; PyTorch's order is [out, \
                 in, height, width]"
            )
        })
    }

    fn pointwise(&self) -> Option<String> {
        let trimmed = |own: &[usize]| Some(own.iter().copied().filter(|size| *size != 1).collect::<Vec<_>>());
        let is_linear = |shape: &[usize]| shape.len() == 2;
        let count = self.misshapen.iter().filter(|(own, wanted)| {
            trimmed(own) == trimmed(wanted) && own.len() != wanted.len() && (is_linear(own) || is_linear(wanted))
        });
        let count = count.count();
        (count > 0).then(|| {
            format!(
                "layers that are linear on one side and convolutions with a kernel of 1 on the other ({count}), as \
                 diffusers' `use_linear_projection` switches them"
            )
        })
    }

    /// Names that all stand behind the same words: `module.`, `model.diffusion_model.`, `ema.`.
    fn wrapped(&self) -> Option<String> {
        let mut prefixes: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, shape) in &self.left_over {
            let inner = self.missing.iter().filter(|(own, wanted)| shape == wanted && name.ends_with(own));
            // The longest name leaves the shortest prefix.
            let Some((inner, _)) = inner.max_by_key(|(own, _)| own.len()) else { continue };
            if let Some(prefix) = name.strip_suffix(inner).filter(|prefix| prefix.ends_with('.')) {
                *prefixes.entry(prefix).or_default() += 1;
            }
        }
        let (prefix, count) = prefixes.into_iter().max_by_key(|(_, count)| *count)?;
        (2 * count > self.missing.len())
            .then(|| format!("{count} of {} missing names are there behind `{prefix}`", self.missing.len()))
    }

    /// One projection on this side that are several on the other: queries, keys and values.
    fn joined(&self) -> Option<String> {
        let (whole, parts) = find_joined(&self.left_over, &self.missing)
            .map(|(whole, parts)| (format!("the file's `{whole}`"), list(&parts)))
            .or_else(|| {
                let (whole, parts) = find_joined(&self.missing, &self.left_over)?;
                Some((format!("`{whole}`"), format!("the file's {}", list(&parts))))
            })?;
        Some(format!(
            "{whole} has the size of {parts} together; their order is the publisher's: q, k, v one behind the other \
             (timm), or head by head (ADM), or mixed within heads (EDM)"
        ))
    }
}

/// A tensor that has as many rows as tensors in the same module, or one inside of it, have together.
fn find_joined<'a>(wholes: &[Named<'a>], parts: &[Named<'a>]) -> Option<(&'a str, Vec<&'a str>)> {
    wholes.iter().find_map(|(whole, shape)| {
        let (module, kind) = split(whole)?;
        let (rows, rest) = shape.split_first()?;
        let fits = |(name, own): &&Named<'a>| {
            let own_rest = own.split_first().map(|(_, rest)| rest);
            own_rest == Some(rest) && split(name).is_some_and(|(outer, own_kind)| (outer, own_kind) == (module, kind))
        };
        let found: Vec<&Named<'a>> = parts.iter().filter(fits).collect();
        let sum: usize = found.iter().filter_map(|(_, shape)| shape.first()).sum();
        let names = || found.iter().map(|(name, _)| *name).collect();
        (found.len() > 1 && sum == *rows).then(|| (*whole, names()))
    })
}

/// The module around the layer of a parameter, and the parameter's own name.
fn split(name: &str) -> Option<(&str, &str)> {
    let (layer, kind) = name.rsplit_once('.')?;
    Some((layer.rsplit_once('.').map_or("", |(module, _)| module), kind))
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(misshapen: &[(&[usize], &[usize])]) -> Vec<String> {
        let misshapen = misshapen.iter().map(|(own, wanted)| (own.to_vec(), wanted.to_vec())).collect();
        Mismatch { misshapen, ..Mismatch::default() }.hints()
    }

    fn names<'a>(missing: &[(&'a str, &[usize])], left_over: &[(&'a str, &[usize])]) -> Vec<String> {
        let named = |given: &[(&'a str, &[usize])]| given.iter().map(|(name, own)| (*name, own.to_vec())).collect();
        Mismatch { missing: named(missing), left_over: named(left_over), misshapen: vec![] }.hints()
    }

    #[track_caller]
    fn says(hints: &[String], words: &str) {
        assert!(hints.len() == 1 && hints.iter().all(|hint| hint.contains(words)), "{hints:?}: {words}");
    }

    #[test]
    fn other_frameworks_are_recognised_by_their_shapes() {
        says(&shapes(&[(&[4, 8], &[8, 4]), (&[5, 8], &[9, 4])]), "transposed matrices (1)");
        says(&shapes(&[(&[3, 3, 4, 8], &[8, 4, 3, 3])]), "kernels stored as [height, width, in, out] (1)");
        says(&shapes(&[(&[8, 4, 1, 1], &[8, 4])]), "`use_linear_projection`");
        says(&shapes(&[(&[8, 4], &[8, 4, 1, 1])]), "`use_linear_projection`");
        assert!(shapes(&[(&[8, 4], &[8, 5]), (&[2], &[3])]).is_empty());
    }

    #[test]
    fn wrappers_are_recognised_by_their_names() {
        let missing: &[(&str, &[usize])] = &[("a.weight", &[4]), ("inner.a.weight", &[4]), ("b.weight", &[2])];
        let inside: &[(&str, &[usize])] =
            &[("ema.a.weight", &[4]), ("ema.inner.a.weight", &[4]), ("ema.b.weight", &[2])];
        says(&names(missing, inside), "3 of 3 missing names are there behind `ema.`");
        assert!(names(missing, &[("other.c.weight", &[4])]).is_empty());
    }

    #[test]
    fn joined_projections_are_recognised_by_their_rows() {
        let apart: &[(&str, &[usize])] =
            &[("attn.to_q.weight", &[4, 8]), ("attn.to_k.weight", &[4, 8]), ("attn.to_v.weight", &[4, 8])];
        let joined: &[(&str, &[usize])] = &[("attn.qkv.weight", &[12, 8])];
        says(&names(apart, joined), "the file's `attn.qkv.weight` has the size of `attn.to_q.weight`");
        says(&names(joined, apart), "`attn.qkv.weight` has the size of the file's `attn.to_q.weight`");
        assert!(names(apart, &[("attn.qkv.weight", &[11, 8])]).is_empty());
        assert!(names(apart, &[("other.qkv.weight", &[12, 8])]).is_empty());
    }
}
