//! The nearest name.

/// Longer names are not compared: it takes the product of their lengths.
const MAX_NAME: usize = 64;

/// The candidate that looks most like `name`, if one looks like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let lower = name.to_lowercase();
    let score = |candidate: &str| {
        let other = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &other);
        // A prefix or a suffix counts as near: `norm` and `group_norm`.
        let part = lower.len() >= 3 && (other.contains(&lower) || lower.contains(&other) && other.len() >= 3);
        let near = distance <= lower.chars().count().max(other.chars().count()) / 3;
        (near || part).then_some((usize::from(!near), distance))
    };
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len() <= MAX_NAME)
        .filter_map(|candidate| score(candidate).map(|score| (score, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// `` did you mean `x`? ``
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|found| format!("did you mean `{found}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(nearest("groupnorm", ["layer_norm", "group_norm"]), Some("group_norm"));
        assert_eq!(nearest("layernrom", ["layer_norm", "group_norm"]), Some("layer_norm"));
        assert_eq!(nearest("xyz", ["layer_norm", "group_norm"]), None);
        assert_eq!(nearest("norm", ["linear", "group_norm"]), Some("group_norm"));
    }
}
