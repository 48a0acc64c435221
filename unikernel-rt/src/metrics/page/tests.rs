use super::*;

/// Adds to a page with `add` and compares its text.
fn check(add: impl Fn(&mut Page), expected: &str) {
    let mut page = Page::default();
    add(&mut page);
    assert_eq!(page.into_text(), expected);
}

#[test]
fn numbers() {
    check(
        |page| page.counter("a_total", "Of a.", &[], 7_u64),
        "# HELP a_total Of a.\n# TYPE a_total counter\na_total 7\n",
    );
    check(|page| page.gauge("b", "Of b.", &[], -3_i64), "# HELP b Of b.\n# TYPE b gauge\nb -3\n");
    let time = Duration::from_micros(12_000_345);
    check(
        |page| page.gauge("c_seconds", "C.", &[], time),
        "# HELP c_seconds C.\n# TYPE c_seconds gauge\nc_seconds 12.000345\n",
    );
}

#[test]
fn families_are_together_and_in_order() {
    let add = |page: &mut Page| {
        page.counter("b_total", "B.", &[("x", "2")], 1_u64);
        page.counter("a_total", "A.", &[], 5_u64);
        page.counter("b_total", "B.", &[("x", "1"), ("y", "z")], 2_u64);
    };
    let expected = "# HELP a_total A.\n# TYPE a_total counter\na_total 5\n# HELP b_total B.\n# TYPE b_total counter\n\
                    b_total{x=\"1\",y=\"z\"} 2\nb_total{x=\"2\"} 1\n";
    check(add, expected);
}

#[test]
fn what_is_added_twice_is_summed_up() {
    let add = |page: &mut Page| {
        page.counter("a_total", "A.", &[], 5_u64);
        page.counter("a_total", "A.", &[], 6_u64);
        // Of another kind: it has no place here.
        page.gauge("a_total", "A.", &[], 100_u64);
    };
    check(add, "# HELP a_total A.\n# TYPE a_total counter\na_total 11\n");
}

#[test]
fn what_would_end_a_line_or_a_value_is_escaped() {
    let add = |page: &mut Page| page.gauge("a", "C:\\ \"x\"\nnext", &[("path", "C:\\\"\n")], 1_u64);
    check(add, "# HELP a C:\\\\ \"x\"\\nnext\n# TYPE a gauge\na{path=\"C:\\\\\\\"\\n\"} 1\n");
}

#[test]
fn a_histogram_counts_up_to_each_bound() {
    let buckets = Buckets::new();
    [10, 64, 100, 20_000_000].into_iter().for_each(|micros| buckets.observe(micros));
    let mut page = Page::default();
    page.histogram_seconds("a_seconds", "A.", &[("route", "/")], &buckets);
    page.histogram_bytes("b_bytes", "B.", &[], &buckets);
    let text = page.into_text();
    let lines = [
        "# TYPE a_seconds histogram",
        "a_seconds_bucket{route=\"/\",le=\"0.000064\"} 2",
        "a_seconds_bucket{route=\"/\",le=\"0.000128\"} 3",
        "a_seconds_bucket{route=\"/\",le=\"16.777216\"} 3",
        "a_seconds_bucket{route=\"/\",le=\"+Inf\"} 4",
        "a_seconds_sum{route=\"/\"} 20.000174",
        "a_seconds_count{route=\"/\"} 4",
        "b_bytes_bucket{le=\"64\"} 2",
        "b_bytes_bucket{le=\"16777216\"} 3",
        "b_bytes_bucket{le=\"+Inf\"} 4",
        "b_bytes_sum 20000174",
        "b_bytes_count 4",
    ];
    for line in lines {
        assert!(text.lines().any(|other| other == line), "no {line:?} in\n{text}");
    }
}

#[test]
fn names_that_prometheus_does_not_take_are_a_bug() {
    let buckets = Buckets::new();
    let adds: [&dyn Fn(&mut Page); 5] = [
        &|page| page.counter("a", "A.", &[], 1_u64),
        &|page| page.gauge("a-b", "A.", &[], 1_u64),
        &|page| page.gauge("a", "A.", &[("b c", "")], 1_u64),
        &|page| page.histogram_seconds("a_bytes", "A.", &[], &buckets),
        &|page| page.histogram_bytes("a_seconds", "A.", &[], &buckets),
    ];
    for add in adds {
        let add = std::panic::AssertUnwindSafe(|| add(&mut Page::default()));
        assert!(std::panic::catch_unwind(add).is_err());
    }
}

#[test]
fn names() {
    for (name, expected) in
        [("a", true), ("a_1", true), ("_", true), ("1a", false), ("", false), ("a-b", false), ("ä", false)]
    {
        assert_eq!(is_name(name), expected, "{name:?}");
    }
    assert!(ends_with("a_total", "_total") && !ends_with("_total", "_total") && !ends_with("a_tota", "_total"));
}
