//! What somebody meant who mistyped a key.

use alloc::vec::Vec;

/// Longer keys are nobody's typing error, and cost the square of their length.
const KEY_LEN_MAX: usize = 64;

/// The key that `word` probably means: a letter in three may be wrong, left out or one too many.
pub(super) fn nearest<'a>(word: &str, keys: &[&'a str]) -> Option<&'a str> {
    let distances =
        keys.iter().filter(|key| key.len().max(word.len()) <= KEY_LEN_MAX).map(|key| (distance(word, key), *key));
    distances.filter(|(distance, key)| *distance * 3 <= key.len().max(3)).min().map(|(_, key)| key)
}

/// How many letters have to be changed, left out, put in or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = last[j] + usize::from(!x.eq_ignore_ascii_case(y));
            let mut least = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let keys = ["port", "verbose", "DATABASE_URL", "ip"];
        let check = |word: &str, expected: Option<&str>| assert_eq!(nearest(word, &keys), expected, "{word}");
        check("prot", Some("port"));
        check("por", Some("port"));
        check("ports", Some("port"));
        check("PORT", Some("port"));
        check("DATABASE_ULR", Some("DATABASE_URL"));
        check("DATABASEURL", Some("DATABASE_URL"));
        check("verbse", Some("verbose"));
        check("iq", Some("ip"));
        check("pear", None);
        check("", None);
        check(&"port".repeat(20), None);
    }

    #[test]
    fn how_far_it_is() {
        let check =
            |a: &str, b: &str, expected: usize| assert_eq!((distance(a, b), distance(b, a)), (expected, expected));
        check("", "", 0);
        check("", "abc", 3);
        check("kitten", "sitting", 3);
        check("ab", "ba", 1);
        check("PORT", "port", 0);
    }
}
