//! JSON as YAML that people read: blocks instead of braces, and strings in quotes, which YAML takes from JSON as they are.

use std::fmt::Write;

use serde_json::Value;

/// Documents, one behind the other.
pub(super) fn documents(values: &[Value]) -> String {
    let text = |value| {
        let mut text = String::from("---\n");
        block(value, 0, &mut text);
        text
    };
    values.iter().map(text).collect()
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let indent = " ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => fields.iter().for_each(|(key, value)| {
            // Keys are words of ours, but for annotations, whose dots and slashes YAML takes, too.
            let _ = write!(out, "{indent}{key}:");
            child(value, depth, out);
        }),
        Value::Array(items) if !items.is_empty() => items.iter().for_each(|item| {
            let mut text = String::new();
            block(item, depth + 2, &mut text);
            // The first line of an item stands behind its dash.
            let _ = write!(out, "{indent}- {}", text.trim_start());
        }),
        _ => {
            let _ = writeln!(out, "{indent}{value}");
        }
    }
}

fn child(value: &Value, depth: usize, out: &mut String) {
    let is_empty =
        value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
    if (value.is_object() || value.is_array()) && !is_empty {
        out.push('\n');
        block(value, depth + 2, out);
    } else {
        let _ = writeln!(out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks() {
        let value = json!({ "a": { "b": [{ "c": 1, "d": "x: \"y\"\n" }, "e", {}], "f": {} }, "g": null, "h": [] });
        let expected = concat!(
            "---\na:\n  b:\n    - c: 1\n      d: \"x: \\\"y\\\"\\n\"\n    - \"e\"\n    - {}\n",
            "  f: {}\ng: null\nh: []\n"
        );
        assert_eq!(documents(&[value]), expected);
    }
}
