"""Prometheus' text, read back by Prometheus' own parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from raycache.metrics.families import COUNTER, FAMILIES, GAUGE, HISTOGRAM, Samples
from raycache.metrics.histogram import Histogram
from raycache.metrics.text import written


def test_every_family_is_read_back_as_it_was_meant() -> None:
    samples, histogram = Samples(), Histogram()
    histogram.observe(0.0003, 5)
    histogram.observe(60.0)
    for number, family in enumerate(FAMILIES):
        value = histogram if family.kind == HISTOGRAM else number + 0.5
        samples.add(family.name, value, *[f"{label}-value" for label in family.labels])
    parsed = {one.name: one for one in text_string_to_metric_families(written(samples.all, {"cluster": "c"}))}
    assert len(parsed) == len(FAMILIES)
    for number, family in enumerate(FAMILIES):
        one = parsed[family.name.removesuffix("_total")]
        assert (one.type, one.documentation) == (family.kind, family.help)
        labels = {"cluster": "c", **{label: f"{label}-value" for label in family.labels}}
        if family.kind == HISTOGRAM:
            found = {sample.name: sample.value for sample in one.samples if not sample.name.endswith("_bucket")}
            assert found == {f"{family.name}_sum": pytest.approx(60.0015), f"{family.name}_count": 6}
            buckets = {sample.labels["le"]: sample.value for sample in one.samples if sample.name.endswith("_bucket")}
            assert (buckets["0.0002"], buckets["0.0005"], buckets["10"], buckets["+Inf"]) == (0, 5, 5, 6)
        else:
            assert [(sample.name, sample.labels, sample.value) for sample in one.samples] == [
                (family.name, labels, number + 0.5)]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('"\\\n'), min_size=1))
def test_any_label_survives(value: str) -> None:
    samples = Samples()
    samples.add("raycache_entries", 1, value)
    (family,) = text_string_to_metric_families(written(samples.all, {}))
    assert family.samples[0].labels == {"shard": value}


def test_names_follow_the_conventions() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.startswith("raycache_")
        assert family.name.endswith("_total") == (family.kind == COUNTER), family.name
        assert not family.name.endswith(("_ms", "_us", "_seconds_count", "_mib", "_kb")), family.name
        assert family.kind in (COUNTER, GAUGE, HISTOGRAM)


def test_only_what_is_in_the_list_can_be_told() -> None:
    samples = Samples()
    with pytest.raises(KeyError):
        samples.add("raycache_unheard_of", 1)
    with pytest.raises(ValueError, match="labels"):
        samples.add("raycache_entries", 1)


def test_rows_bring_samples_back_and_leave_out_what_is_newer() -> None:
    samples, histogram = Samples(), Histogram()
    histogram.observe(0.1)
    samples.add("raycache_entries", 7, "s0")
    samples.add("raycache_command_duration_seconds", histogram, "shard", "s0", "read")
    rows = samples.to_rows()
    back = Samples.of_rows([*rows, ["raycache_of_tomorrow", [], 1], ["raycache_entries", [], 1]])
    assert back.to_rows() == rows
    assert written(samples.all, {}) == written(back.all, {})
    with pytest.raises(ValueError, match="not a sample"):
        Samples.of_rows([["raycache_entries", None, 1]])


def test_nothing_is_an_empty_text() -> None:
    assert written([], {"cluster": "c"}) == ""
