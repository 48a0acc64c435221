//! One answer to a scraper, in Prometheus' text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use super::histogram::{Buckets, bound_of};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::{fmt, fmt::Write, time::Duration};

/// What `Content-Type` says of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one moment. What is added twice, with the same labels, is summed up: two network stacks are one to whoever
/// looks from outside. A name that is there as another kind, a counter as a gauge, is left out. Names that Prometheus would
/// not take are a bug, and panic in debug builds.
#[derive(Default)]
pub struct Page {
    families: BTreeMap<&'static str, Family>,
}

struct Family {
    help: &'static str,
    kind: Kind,
    /// By labels, as they are written.
    series: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

enum Value {
    Number(Number),
    Buckets { counts: Vec<u64>, sum: Number },
}

/// A value: a whole number, or a time, which is shown in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    value: i128,
    is_micros: bool,
}

macro_rules! whole {
    ($($type:ty)*) => {
        $(impl From<$type> for Number {
            fn from(value: $type) -> Number {
                Number { value: value as i128, is_micros: false }
            }
        })*
    };
}

whole!(u64 i64 u32 usize bool);

impl From<Duration> for Number {
    fn from(time: Duration) -> Number {
        Number { value: time.as_micros() as i128, is_micros: true }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_micros {
            return write!(f, "{}", self.value);
        }
        let micros = self.value.unsigned_abs();
        let sign = if self.value < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

impl Page {
    /// Adds a number that only grows. Its name ends with `_total`.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        value: impl Into<Number>,
    ) {
        debug_assert!(ends_with(name, "_total"), "the name of a counter ends with `_total`: {name}");
        self.number(name, help, Kind::Counter, labels, value.into());
    }

    /// Adds a number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: impl Into<Number>) {
        self.number(name, help, Kind::Gauge, labels, value.into());
    }

    /// Adds a histogram of microseconds. Its name ends with `_seconds`.
    pub fn histogram_seconds(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], of: &Buckets) {
        debug_assert!(ends_with(name, "_seconds"), "the name of a histogram of times ends with `_seconds`: {name}");
        self.histogram(name, help, labels, of, true);
    }

    /// Adds a histogram of lengths. Its name ends with `_bytes`.
    pub fn histogram_bytes(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], of: &Buckets) {
        debug_assert!(ends_with(name, "_bytes"), "the name of a histogram of lengths ends with `_bytes`: {name}");
        self.histogram(name, help, labels, of, false);
    }

    fn number(&mut self, name: &'static str, help: &'static str, kind: Kind, labels: &[(&str, &str)], more: Number) {
        let zero = Value::Number(Number { value: 0, ..more });
        if let Some(Value::Number(number)) = self.value(name, help, kind, labels, zero) {
            number.value += more.value;
        }
    }

    fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        of: &Buckets,
        is_micros: bool,
    ) {
        let (more, sum) = of.read();
        let none = Value::Buckets { counts: alloc::vec![0; more.len()], sum: Number { value: 0, is_micros } };
        if let Some(Value::Buckets { counts, sum: known }) = self.value(name, help, Kind::Histogram, labels, none) {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            known.value += i128::from(sum);
        }
    }

    /// The value to add to; `zero` where there is none. `None` for a name that is of another kind already.
    fn value(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &[(&str, &str)],
        zero: Value,
    ) -> Option<&mut Value> {
        debug_assert!(is_name(name), "a metric's name is of letters, digits and `_`: {name}");
        debug_assert!(labels.iter().all(|(label, _)| is_name(label)), "a label's name is no name: {labels:?}");
        let family = self.families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
        (family.kind == kind).then(|| family.series.entry(labels_text(labels)).or_insert(zero))
    }

    /// The text.
    pub fn into_text(self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            write_family(&mut text, name, family).expect("a string takes everything");
        }
        text
    }
}

fn write_family(text: &mut String, name: &str, family: &Family) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    write!(text, "# HELP {name} ")?;
    escape(text, family.help, false);
    writeln!(text, "\n# TYPE {name} {kind}")?;
    for (labels, value) in &family.series {
        match value {
            Value::Number(number) if labels.is_empty() => writeln!(text, "{name} {number}")?,
            Value::Number(number) => writeln!(text, "{name}{{{labels}}} {number}")?,
            Value::Buckets { counts, sum } => write_histogram(text, name, labels, counts, *sum)?,
        }
    }
    Ok(())
}

fn write_histogram(text: &mut String, name: &str, labels: &str, counts: &[u64], sum: Number) -> fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    for (index, count) in counts.iter().enumerate() {
        write!(text, "{name}_bucket{{{labels}{comma}le=\"")?;
        match bound_of(index) {
            Some(bound) => write!(text, "{}", Number { value: bound.into(), ..sum })?,
            None => text.push_str("+Inf"),
        }
        writeln!(text, "\"}} {count}")?;
    }
    let count = counts.last().copied().unwrap_or_default();
    let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
    writeln!(text, "{name}_sum{open}{labels}{close} {sum}\n{name}_count{open}{labels}{close} {count}")
}

fn labels_text(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        escape(&mut text, value, true);
        text.push('"');
    }
    text
}

fn escape(text: &mut String, raw: &str, is_quoted: bool) {
    for char in raw.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if is_quoted => text.push_str("\\\""),
            char => text.push(char),
        }
    }
}

/// Whether Prometheus takes `name` for a metric and for a label.
pub(super) const fn is_name(name: &str) -> bool {
    let (bytes, mut index) = (name.as_bytes(), 0);
    while index < bytes.len() {
        if !(bytes[index].is_ascii_alphabetic() || bytes[index] == b'_' || (index > 0 && bytes[index].is_ascii_digit()))
        {
            return false;
        }
        index += 1;
    }
    !bytes.is_empty()
}

pub(super) const fn ends_with(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    let mut index = 0;
    while index < end.len() {
        if name.len() <= end.len() || name[name.len() - end.len() + index] != end[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests;
