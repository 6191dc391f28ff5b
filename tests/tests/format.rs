//! The formatter: idempotent, keeps comments, keeps meaning, on every source there is and on many that are not.

use archc_grammar::{FileId, Level, format, parse};
use archc_tests::corpus::{self, Source};
use archc_tests::mutation::{Dice, mutate};

const MUTATIONS: u64 = 400;

/// The syntax tree as text, without places.
fn tree(source: &str) -> String {
    let text = format!("{:?}", parse(source, FileId(0)).file);
    let mut parts = text.split("Span { file: FileId(0), start: ");
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let (place, rest) = part.split_once(" }").unwrap_or((part, ""));
        assert!(place.chars().all(|c| c.is_ascii_digit() || ", end:".contains(c)), "`{place}` is no span");
        plain.push('_');
        plain.push_str(rest);
    }
    plain
}

/// The comments of a source in order, found without the grammar: from `//` outside of quotes to the end of the line.
fn comments(source: &str) -> Vec<&str> {
    let mut found = vec![];
    for line in source.lines() {
        let mut quoted = false;
        let mut previous = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' if previous != '\\' => quoted = !quoted,
                '/' if previous == '/' && !quoted => {
                    found.extend(line.get(at - 1..).map(str::trim_end));
                    break;
                }
                _ => {}
            }
            previous = c;
        }
    }
    found
}

fn is_well_formed(source: &str) -> bool {
    parse(source, FileId(0)).problems.iter().all(|problem| problem.level != Level::Error)
}

/// Checks one source; whether it could be formatted.
fn check(source: &Source) -> bool {
    let Source { name, text } = source;
    let formatted = match format(text, FileId(0)) {
        Ok(formatted) => formatted,
        Err(problems) => {
            assert!(!problems.is_empty(), "{name} is refused without a word");
            assert!(!is_well_formed(text), "{name} is well-formed and refused: {problems:?}\n{text}");
            return false;
        }
    };
    let again = format(&formatted, FileId(0));
    assert_eq!(again.as_deref(), Ok(formatted.as_str()), "{name} changes when formatted twice");
    assert_eq!(comments(&formatted), comments(text), "{name} loses comments:\n{text}");
    assert_eq!(tree(&formatted), tree(text), "{name} means something else:\n{text}\n----\n{formatted}");
    for line in formatted.lines() {
        assert_eq!(line.trim_end(), line, "{name} has blanks at the end of a line");
    }
    assert!(formatted.is_empty() || formatted.ends_with('\n') && !formatted.ends_with("\n\n"), "{name} ends well");
    true
}

#[test]
fn every_well_formed_source_keeps_its_meaning() {
    let all = corpus::everything();
    let formatted = all.iter().filter(|source| check(source)).count();
    assert!(formatted * 2 > all.len(), "{formatted} of {} sources are well-formed", all.len());
}

#[test]
fn specs_are_formatted() {
    for source in corpus::specs() {
        let formatted = format(&source.text, FileId(0));
        assert_eq!(formatted.as_deref(), Ok(source.text.as_str()), "{}", source.name);
    }
}

#[test]
fn mutated_sources_keep_their_meaning() {
    let all = corpus::everything();
    let mut formatted = 0;
    for seed in 0..MUTATIONS {
        let mut dice = Dice::new(seed);
        let Some(source) = all.get(dice.below(all.len())) else { continue };
        let text = mutate(&source.text, &mut dice);
        formatted += u64::from(check(&Source { name: format!("{} (seed {seed})", source.name), text }));
    }
    assert!(formatted * 20 > MUTATIONS, "{formatted} of {MUTATIONS} mutations are well-formed");
}

/// Blanks and line ends of the author are free.
#[test]
fn blanks_do_not_matter() {
    for source in corpus::specs() {
        let wide = source.text.lines().map(|line| format!("\t {line}  \t\r\n")).collect::<String>();
        assert_eq!(format(&wide, FileId(0)).as_deref(), Ok(source.text.as_str()), "{}", source.name);
    }
}
