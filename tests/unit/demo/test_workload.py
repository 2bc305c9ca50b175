"""Popularity, traces, and that each key number is a question of its own."""

from __future__ import annotations

import gzip
import itertools
import pickle
from collections import Counter
from pathlib import Path

import pytest

from raycache.demo.workload import MAX_RADIUS_KM, TraceWorkload, ZipfWorkload, question_of, read_trace

TRACES = Path(__file__).parents[3].parent / "shared" / "traces"


def take(count: int, workload: ZipfWorkload, reader: int = 0) -> list[int]:
    return list(itertools.islice(workload.numbers(reader, 3), count))


def test_the_same_seed_gives_the_same_requests() -> None:
    workload = ZipfWorkload(keys=1000, seed=5)
    assert take(500, workload) == take(500, pickle.loads(pickle.dumps(workload)))
    assert take(500, workload) != take(500, ZipfWorkload(keys=1000, seed=6))


def test_readers_share_what_is_popular_but_not_the_order() -> None:
    workload = ZipfWorkload(keys=1000, skew=1.2)
    one, other = take(5000, workload, 0), take(5000, workload, 1)
    assert one != other
    assert Counter(one).most_common(1)[0][0] == Counter(other).most_common(1)[0][0]


def test_popularity_follows_the_law() -> None:
    counts = Counter(take(40_000, ZipfWorkload(keys=100, skew=1.0)))
    ordered = [count for _, count in counts.most_common()]
    # With 100 keys the first has 1 / H(100) = 19.3 % of the requests, the second half of that.
    assert ordered[0] / 40_000 == pytest.approx(0.193, abs=0.01)
    assert ordered[1] / ordered[0] == pytest.approx(0.5, abs=0.05)
    assert set(counts) <= set(range(100))


def test_no_skew_is_uniform_and_reaches_every_key() -> None:
    counts = Counter(take(20_000, ZipfWorkload(keys=10, skew=0.0)))
    assert set(counts) == set(range(10))
    assert min(counts.values()) > 1800


def test_a_trace_is_dealt_out_in_turns(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("5\n6 120\n7\n5\n8\n")
    trace = read_trace(path)
    assert trace.requests == 5
    assert list(trace.numbers(0, 2)) == [5, 7, 8]
    assert list(trace.numbers(1, 2)) == [6, 5]


def test_a_trace_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt.gz"
    path.write_bytes(gzip.compress(b"1\n2\n1\n"))
    assert list(read_trace(path).numbers(0, 1)) == [1, 2, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [("1\n2\nx\n", "line 3"), ("1\n\n2\n", "line 2"), ("", "it is empty"), ("1\n-4\n", "negative")],
)
def test_a_broken_trace_says_where(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        read_trace(path)


def test_a_file_that_only_claims_to_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_text("1\n")
    with pytest.raises(ValueError, match="line 1"):
        read_trace(path)


def test_a_recorded_trace_reads_whole() -> None:
    path = TRACES / "web12.txt.gz"
    if not path.exists():
        pytest.skip("the recorded traces are not beside this clone")
    trace = read_trace(path)
    assert isinstance(trace, TraceWorkload)
    assert trace.requests == 95_607
    assert len(set(trace.keys.tolist())) == 13_756


def test_every_key_number_is_another_question() -> None:
    questions = [question_of(number, 7) for number in range(7 * MAX_RADIUS_KM)]
    assert len(set(questions)) == len(questions)
    assert {question.airport for question in questions} == set(range(7))
    assert {question.radius_km for question in questions} == set(range(1, MAX_RADIUS_KM + 1))
    with pytest.raises(ValueError, match="too large"):
        question_of(7 * MAX_RADIUS_KM, 7)
