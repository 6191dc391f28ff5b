//! Markdown to its fenced `arch` blocks.

/// A fenced block with what stands around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub language: String,
    /// Headings above it, outermost first, with ` > ` between.
    pub heading: String,
    /// What stands behind the language on the fence.
    pub info: String,
    /// Line of the file on which its text starts, counted from one.
    pub line: usize,
    pub text: String,
}

/// All blocks of the language `arch`, in order.
pub fn arch_blocks(markdown: &str) -> Vec<Block> {
    blocks(markdown).into_iter().filter(|block| block.language == "arch").collect()
}

/// All fenced blocks, in order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut headings: Vec<(usize, String)> = vec![];
    let mut blocks: Vec<Block> = vec![];
    let mut open: Option<Block> = None;
    for (at, line) in markdown.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(info)) => {
                let (language, info) = info.split_once(' ').unwrap_or((info, ""));
                let heading: Vec<&str> = headings.iter().map(|(_, text)| text.as_str()).collect();
                open = Some(Block {
                    language: language.to_owned(),
                    heading: heading.join(" > "),
                    info: info.trim().to_owned(),
                    line: at + 2,
                    text: String::new(),
                });
            }
            (None, None) => {
                let level = line.chars().take_while(|c| *c == '#').count();
                if level > 0 && line.chars().nth(level) == Some(' ') {
                    headings.retain(|(own, _)| *own < level);
                    headings.push((level, line.trim_start_matches('#').trim().to_owned()));
                }
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::arch_blocks;

    #[test]
    fn blocks_know_their_headings_and_lines() {
        let text =
            "# A\n```arch\nx\n```\n## B\ntext\n```rust\ny\n```\n```arch set=\"n = 1\"\nz\n```\n# C\n```arch\n```\n";
        let found: Vec<_> = arch_blocks(text).into_iter().map(|b| (b.heading, b.info, b.line, b.text)).collect();
        let expected = [("A", "", 3, "x\n"), ("A > B", "set=\"n = 1\"", 11, "z\n"), ("C", "", 15, "")];
        let expected = expected.map(|(h, i, line, text)| (h.to_owned(), i.to_owned(), line, text.to_owned()));
        assert_eq!(found, expected);
    }
}
