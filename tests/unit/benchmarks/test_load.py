"""Reading what redis-benchmark prints, and building its call."""

from __future__ import annotations

import pytest

from benchmarks.harness import load
from benchmarks.harness.servers import HOST

HEADER = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"'
)
OUTPUT = f"""{HEADER}
"SET","78125.00","0.337","0.096","0.311","0.463","0.919","1.919"
"GET","75757.58","0.342","0.128","0.319","0.503","0.607","1.231"
"""


def test_csv() -> None:
    runs = load.parse_csv(OUTPUT)
    assert runs == {
        "set": load.Run("SET", 78125.0, 0.311, 0.919, 1.919),
        "get": load.Run("GET", 75757.58, 0.319, 0.607, 1.231),
    }


def test_warnings_before_the_table_are_skipped() -> None:
    assert load.parse_csv("WARNING: Could not fetch server CONFIG\n" + OUTPUT) == load.parse_csv(OUTPUT)


@pytest.mark.parametrize("output", ["", "Could not connect", HEADER])
def test_output_without_a_run_is_an_error(output: str) -> None:
    with pytest.raises(ValueError, match="measured nothing"):
        load.parse_csv(output)


@pytest.mark.parametrize("output", ['"test","rps"\n"SET","1.0"\n', f'{HEADER}\n"SET","1.0"\n'])
def test_an_older_redis_benchmark_is_named_as_such(output: str) -> None:
    with pytest.raises(ValueError, match=r"6\.2 or newer"):
        load.parse_csv(output)


def test_command_line() -> None:
    assert load.command(7001, ("-c", "50")) == ["redis-benchmark", "-h", HOST, "-p", "7001", "-c", "50"]
    assert load.command(7001, ("-c", "50"), "word")[5:7] == ["-a", "word"]
