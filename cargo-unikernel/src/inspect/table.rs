//! Text in columns, for people.

use crate::fs::printable;

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of as many cells as there are columns, the titles first.
pub(crate) struct Table {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&str, Align)]) -> Table {
        let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        Table { aligns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![titles] }
    }

    pub(crate) fn push<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(crate) fn text(&self) -> String {
        let len = |cell: &String| cell.chars().count();
        let width = |column: usize| self.rows.iter().map(|row| len(&row[column])).max().unwrap_or(0);
        let widths: Vec<_> = (0..self.aligns.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.aligns).map(|((cell, width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// A time, short.
pub(crate) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{}.{:01} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_needed() {
        let mut table = Table::new(&[("N", Align::Right), ("NAME", Align::Left), ("X", Align::Left)]);
        table.push(["1".into(), "a long name".into(), "x".into()]);
        table.push(["100".into(), "\x1b[2J".into(), String::new()]);
        assert_eq!(table.text(), "  N  NAME         X\n  1  a long name  x\n100  \\u{1b}[2J\n");
    }

    #[test]
    fn times_are_short() {
        for (micros, expected) in [(0, "0 us"), (999, "999 us"), (1_250, "1.2 ms"), (12_345_678, "12.34 s")] {
            assert_eq!(time(micros), expected);
        }
    }
}
