//! Standard output and standard error.

use std::io::Write;

/// Prints text. A reader that has seen enough (`archc ir .. | head`) ends the program quietly.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line.
pub fn line(text: impl AsRef<str>) {
    print(&format!("{}\n", text.as_ref()));
}

/// Says on standard error why the program gives up.
pub fn error(message: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "error: {message}");
}

/// Says on standard error what a person should know while the program goes on.
#[cfg(feature = "run")]
pub fn warning(message: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {message}");
}

/// Columns of equal width with two blanks between; `numeric` columns are aligned to the right.
pub fn table(header: &[&str], rows: &[Vec<String>], numeric: &[usize]) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let mut widths = vec![0; header.len()];
    for row in std::iter::once(&header).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(width - cell.chars().count());
            let padded = if numeric.contains(&at) { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") };
            line.push_str(&padded);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count with a unit: `675.1 M`, `118.6 G`.
pub fn count(value: u64) -> String {
    scaled(value as f64, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// Bytes with a binary unit: `1.5 GiB`.
#[cfg(any(feature = "run", test))]
pub fn bytes(value: u64) -> String {
    scaled(value as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter().peekable();
    let mut unit = units.next().copied().unwrap_or("");
    while value >= base && units.peek().is_some() {
        value /= base;
        unit = units.next().copied().unwrap_or("");
    }
    let whole = value.fract() == 0.0 && value < 1000.0;
    let number = if whole { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{number} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, table};

    #[test]
    fn numbers_have_units() {
        assert_eq!(count(675_129_632), "675.1 M");
        assert_eq!(count(12), "12");
        assert_eq!(bytes(1536), "1.5 KiB");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "5".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows, &[1]), "name   n\na     10\nlong   5\n");
    }
}
