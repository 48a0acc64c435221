"""Reads metrics as Prometheus does, from the standard input: a line `NAME{LABELS} VALUE` for each sample.

Fails where the text breaks the format: a family that comes twice, a histogram that does not add up, a counter whose name does
not end with _total.
"""

import sys

from prometheus_client.parser import text_string_to_metric_families


def check_histogram(family):
    series = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        series.setdefault(labels, []).append(sample)
    for samples in series.values():
        buckets = [(float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket")]
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), buckets
        assert [value for _, value in buckets] == sorted(value for _, value in buckets), buckets
        [count] = [s.value for s in samples if s.name.endswith("_count")]
        [total] = [s.value for s in samples if s.name.endswith("_sum")]
        assert count == buckets[-1][1] and total >= 0, samples


seen = set()
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.name not in seen, family.name
    assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
    assert family.samples, family
    seen.add(family.name)
    if family.type == "histogram":
        check_histogram(family)
    for sample in family.samples:
        assert family.type != "counter" or sample.name.endswith("_total"), sample
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        print(f"{sample.name}{{{labels}}} {sample.value}")
