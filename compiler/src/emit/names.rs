//! Names in the conventions of programming languages.

/// `DiTBlock`, `cropped_sincos_2d` or `down_blocks` as a type: `DiTBlock`, `CroppedSincos2d`, `DownBlocks`.
pub fn type_name(name: &str) -> String {
    let mut result = String::new();
    for word in name.split('_').filter(|word| !word.is_empty()) {
        let mut chars = word.chars();
        result.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        result.extend(chars);
    }
    if result.starts_with(|c: char| c.is_ascii_digit()) || result.is_empty() {
        result.insert(0, 'M');
    }
    result
}

/// `adaLN_modulation.1` as a field: `ada_ln_modulation_1`.
pub fn field_name(name: &str) -> String {
    let mut result = String::new();
    let chars: Vec<char> = name.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at)).copied().unwrap_or('_');
        let next = chars.get(at + 1).copied().unwrap_or('_');
        let starts = c.is_ascii_uppercase()
            && (before.is_ascii_lowercase() || before.is_ascii_uppercase() && next.is_ascii_lowercase());
        if starts && !result.ends_with('_') && !result.is_empty() {
            result.push('_');
        }
        result.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    if result.starts_with(|c: char| c.is_ascii_digit()) {
        result.insert(0, '_');
    }
    if result.is_empty() { "value".to_owned() } else { result }
}

/// The name, or the name with the first number behind it that is free. Takes it.
pub fn unique(name: String, taken: &mut Vec<String>) -> String {
    let mut found = name.clone();
    let mut count = 2;
    while taken.contains(&found) {
        found = format!("{name}_{count}");
        count += 1;
    }
    taken.push(found.clone());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_if_written_by_hand() {
        assert_eq!(type_name("cropped_sincos_2d"), "CroppedSincos2d");
        assert_eq!(type_name("DiTBlock"), "DiTBlock");
        assert_eq!(field_name("adaLN_modulation.1"), "ada_ln_modulation_1");
        assert_eq!(field_name("D"), "d");
        assert_eq!(field_name("net.0.proj"), "net_0_proj");
        assert_eq!(unique("x".into(), &mut vec!["x".into(), "x_2".into()]), "x_3");
    }
}
