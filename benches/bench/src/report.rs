//! The measured values, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::rows::{self, Case, SECTIONS, Section, Target, Unit};

/// Whose values they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The unikernel's.
    Ours,
    /// Those of nginx on Linux, or of another program there where nginx has no such thing.
    Linux,
}

/// Everything measured in this run.
#[derive(Default)]
pub struct Report {
    values: BTreeMap<(Side, String), f64>,
    notes: Vec<String>,
}

impl Report {
    /// Adds the value of a case, and shows it at once, for those who wait.
    pub fn add(&mut self, side: Side, case: &str, value: f64) {
        eprintln!("{side:?} {case}: {}", number(value));
        self.values.insert((side, case.to_owned()), value);
    }

    /// Adds a sentence that is printed below the table, once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            eprintln!("{note}");
            self.notes.push(note);
        }
    }

    fn value(&self, side: Side, case: &str) -> Option<f64> {
        self.values.get(&(side, case.to_owned())).copied()
    }

    /// The table, with the rows that were measured.
    pub fn table(&self) -> String {
        let head = ["case", "to reach", "ours", "Linux", "ratio", ""].map(str::to_owned);
        let sections: Vec<_> = SECTIONS.iter().map(|section| (section.title, self.rows(section))).collect();
        let rows: Vec<&[String; 6]> = sections.iter().flat_map(|(_, rows)| rows).chain([&head]).collect();
        let widths: Vec<usize> =
            (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
        let mut text = line(&head, &widths);
        for (title, rows) in sections.iter().filter(|(_, rows)| !rows.is_empty()) {
            let _ = writeln!(text, "\n{title}");
            rows.iter().for_each(|row| text.push_str(&line(row, &widths)));
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        text
    }

    fn rows(&self, section: &Section) -> Vec<[String; 6]> {
        section.cases.iter().filter_map(|case| self.row(case)).collect()
    }

    fn row(&self, case: &Case) -> Option<[String; 6]> {
        let (ours, linux) = (self.value(Side::Ours, case.id), self.value(Side::Linux, case.id));
        if ours.is_none() && linux.is_none() {
            return None;
        }
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), number);
        let verdict = match self.reached(case) {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        Some([
            case.title.to_owned(),
            self.goal(case),
            shown(ours),
            shown(linux),
            ratio(case.unit, ours, linux),
            verdict.to_owned(),
        ])
    }

    fn goal(&self, case: &Case) -> String {
        match case.target {
            Target::None => "–".to_owned(),
            Target::AtMost(limit) => format!("≤ {}", number(limit)),
            Target::Exactly(value) => number(value),
            Target::TimesLinux(factor) => format!("≥ {factor} × Linux"),
            Target::PartOfLinux(factor) => format!("≤ {factor} × Linux"),
            Target::TimesCase(factor, other) => match self.value(Side::Ours, other) {
                Some(value) => format!("≤ {}", number(value * factor)),
                None => format!("≤ {factor} × {other}"),
            },
        }
    }

    /// Whether our value reaches the target; `None` when one of them is missing.
    fn reached(&self, case: &Case) -> Option<bool> {
        let ours = self.value(Side::Ours, case.id)?;
        match case.target {
            Target::None => None,
            Target::AtMost(limit) => Some(ours <= limit),
            Target::Exactly(value) => Some(ours == value),
            Target::TimesLinux(factor) => Some(ours >= factor * self.value(Side::Linux, case.id)?),
            Target::PartOfLinux(factor) => Some(ours <= factor * self.value(Side::Linux, case.id)?),
            Target::TimesCase(factor, other) => Some(ours <= factor * self.value(Side::Ours, other)?),
        }
    }

    /// All values with their targets, for programs.
    pub fn json(&self) -> Value {
        let rows = rows::all().map(|case| {
            json!({
                "case": case.id,
                "title": case.title,
                "to_reach": self.goal(case),
                "ours": self.value(Side::Ours, case.id),
                "linux": self.value(Side::Linux, case.id),
                "reached": self.reached(case),
            })
        });
        json!({ "rows": rows.collect::<Vec<_>>(), "notes": self.notes })
    }
}

/// One line of the table.
fn line(row: &[String; 6], widths: &[usize]) -> String {
    let [case, cells @ ..] = row;
    let mut line = format!("{case:<width$}", width = widths[0]);
    for (cell, width) in cells.iter().zip(&widths[1..]) {
        let _ = write!(line, "  {cell:>width$}");
    }
    format!("{}\n", line.trim_end())
}

/// How many times better than Linux: fewer of everything, but more a second.
fn ratio(unit: Unit, ours: Option<f64>, linux: Option<f64>) -> String {
    let (Some(ours), Some(linux)) = (ours, linux) else { return String::new() };
    let better = if unit == Unit::PerSecond { ours / linux } else { linux / ours };
    if unit == Unit::Count || !better.is_finite() {
        return String::new();
    }
    if better < 0.95 { format!("{better:.2} ×") } else { format!("{better:.1} ×") }
}

/// With separators from a thousand on, and three significant digits below that.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value < 1_000.0 {
        return format!("{value}");
    }
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 1_000.0 => format!("{value:.1}"),
        value => grouped(value.round() as u64),
    }
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, want: &str) {
        assert_eq!(number(value), want);
    }

    #[test]
    fn whole() {
        check(3.0, "3");
    }

    #[test]
    fn small() {
        check(4.518, "4.52");
    }

    #[test]
    fn hundreds() {
        check(245.67, "245.7");
    }

    #[test]
    fn millions() {
        check(6_980_123.4, "6,980,123");
    }

    #[test]
    fn a_value_above_its_target_is_missed() {
        let mut report = Report::default();
        report.add(Side::Ours, "hello64.insn", 3_001.0);
        assert!(report.table().contains("MISSED"));
    }

    #[test]
    fn half_of_what_linux_takes_reaches_the_target() {
        let mut report = Report::default();
        report.add(Side::Ours, "seq-read.insn", 100.0);
        report.add(Side::Linux, "seq-read.insn", 200.0);
        assert!(report.table().contains("2.0 ×  reached"));
        report.add(Side::Ours, "seq-read.insn", 101.0);
        assert!(report.table().contains("2.0 ×  MISSED"));
    }

    #[test]
    fn four_times_as_fast_as_linux_reaches_the_target() {
        let mut report = Report::default();
        report.add(Side::Ours, "hello64.rate", 32_000.0);
        report.add(Side::Linux, "hello64.rate", 8_000.0);
        assert!(report.table().contains("4.0 ×  reached"));
    }
}
