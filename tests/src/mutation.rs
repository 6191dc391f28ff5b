//! Sources with mistakes made by dice: the same for the same seed.

/// Random numbers, good enough to break things: xorshift with multiplication (Vigna, 2016).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// What random insertions are made of.
const SCRAPS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "@",
    "#",
    "#[",
    ";",
    ",",
    ".",
    "..",
    ":",
    "=",
    "==",
    "->",
    "<-",
    "=>",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "&&",
    "||",
    "|",
    "\\",
    "//",
    "/*",
    "\n",
    "\t",
    "\r\n",
    "\0",
    "é",
    "→",
    "🦀",
    "\u{feff}",
    "\u{a0}",
    "0",
    "1",
    "-1",
    "0.5",
    "1e9",
    "1e400",
    "99999999999999999999",
    "9223372036854775807",
    "true",
    "false",
    "let",
    "for",
    "in",
    "if",
    "else",
    "use",
    "block",
    "model",
    "pipeline",
    "denoise",
    "preset",
    "residual",
    "skip",
    "init",
    "order",
    "encoder",
    "join",
    "chunk",
    "learned",
    "identity",
    "linear",
    "conv2d",
    "zero",
    "tokens",
    "image",
    "x",
    "h",
    "_",
    "pi",
    "inf",
    "return",
    "self",
    "None",
    "@.",
    "@{i}",
    "h => h",
];

/// A source with a few mistakes in it.
pub fn mutate(source: &str, dice: &mut Dice) -> String {
    let mut pieces = pieces(source);
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(pieces.len());
        let other = dice.below(pieces.len());
        match dice.below(8) {
            0 if !pieces.is_empty() => {
                pieces.remove(at);
            }
            1 => {
                let copy = pieces.get(at).cloned();
                pieces.splice(at..at, copy);
            }
            2 if !pieces.is_empty() => pieces.swap(at, other),
            3 => {
                let copy = pieces.get(other).cloned();
                if let (Some(slot), Some(copy)) = (pieces.get_mut(at), copy) {
                    *slot = copy;
                }
            }
            4 => {
                let end = pieces.len().min(at + dice.below(12));
                pieces.drain(at.min(end)..end);
            }
            5 => {
                let (start, end) = (at.min(other), at.max(other).min(at.min(other) + 20));
                let copy: Vec<String> = pieces.get(start..end).unwrap_or(&[]).to_vec();
                pieces.splice(other..other, copy);
            }
            6 => {
                if let (Some(slot), Some(scrap)) = (pieces.get_mut(at), dice.pick(SCRAPS)) {
                    *slot = (*scrap).to_owned();
                }
            }
            _ => {
                let scrap = dice.pick(SCRAPS).map(|scrap| (*scrap).to_owned());
                pieces.splice(at..at, scrap);
            }
        }
    }
    pieces.concat()
}

/// Words, blanks and signs, each by itself.
fn pieces(source: &str) -> Vec<String> {
    let class = |c: char| match c {
        _ if c.is_alphanumeric() || c == '_' => 0,
        _ if c.is_whitespace() => 1,
        _ => 2,
    };
    let mut pieces: Vec<String> = vec![];
    let mut previous = None;
    for c in source.chars() {
        let own = class(c);
        match pieces.last_mut() {
            Some(last) if previous == Some(own) && own != 2 => last.push(c),
            _ => pieces.push(c.to_string()),
        }
        previous = Some(own);
    }
    pieces
}

/// A text of scraps alone.
pub fn noise(dice: &mut Dice, length: usize) -> String {
    let mut text = String::new();
    for _ in 0..length {
        text.extend(dice.pick(SCRAPS).copied());
        if dice.below(3) == 0 {
            text.push(' ');
        }
    }
    text
}

/// Bytes that are no text for the most part, read as one.
pub fn garbage(dice: &mut Dice, length: usize) -> String {
    let bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_mistakes() {
        let source = "model M(x: vector[4]) { x -> linear(2) }";
        assert_eq!(mutate(source, &mut Dice::new(7)), mutate(source, &mut Dice::new(7)));
        assert_ne!(mutate(source, &mut Dice::new(7)), mutate(source, &mut Dice::new(8)));
        assert_eq!(pieces(source).concat(), source);
    }
}
