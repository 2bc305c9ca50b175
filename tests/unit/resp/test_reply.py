"""The reply splitter: every RESP2 and RESP3 type, cut anywhere, and bytes that are no replies."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.errors import ProtocolError
from raycache.resp.reply import ReplySplitter, bulk_of, elements, integer_of, is_error, is_null

FRAMES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":-12\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$4\r\n\r\n\r\n\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n",
    b"_\r\n",
    b",1.5\r\n",
    b"#t\r\n",
    b"(12345678901234567890\r\n",
    b"!5\r\nERR x\r\n",
    b"=6\r\ntxt:ab\r\n",
    b"%1\r\n+a\r\n*1\r\n+b\r\n",
    b"~2\r\n+a\r\n:1\r\n",
    b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
    b"|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n",
]

lines = st.binary(max_size=8).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
bulks = st.binary(max_size=12).map(lambda text: b"$%d\r\n%b\r\n" % (len(text), text))
leaves = st.one_of(
    bulks,
    lines.map(lambda text: b"+%b\r\n" % text),
    lines.map(lambda text: b"-%b\r\n" % text),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b":%d\r\n" % number),
    st.sampled_from(
        [b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b",inf\r\n", b"(9\r\n", b"=5\r\ntxt:x\r\n", b"!3\r\nE x\r\n"]
    ),
)
frames = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: b"*%d\r\n%b" % (len(items), b"".join(items))),
        st.lists(inner, max_size=4).map(lambda items: b"~%d\r\n%b" % (len(items), b"".join(items))),
        st.lists(st.tuples(inner, inner), max_size=3).map(
            lambda pairs: b"%%%d\r\n%b" % (len(pairs), b"".join(a + b for a, b in pairs))
        ),
        st.tuples(leaves, leaves, inner).map(lambda parts: b"|1\r\n%b%b%b" % parts),
    ),
    max_leaves=12,
)


def split(chunks: list[bytes]) -> list[bytes]:
    """Feed the chunks, taking all that is complete after each."""
    splitter, found = ReplySplitter(), []
    for chunk in chunks:
        splitter.feed(chunk)
        while (frame := splitter.next()) is not None:
            found.append(frame)
    assert not splitter.has_partial
    return found


def test_every_type_is_one_frame() -> None:
    assert split([b"".join(FRAMES)]) == FRAMES


def test_every_type_survives_byte_by_byte_delivery() -> None:
    stream = b"".join(FRAMES)
    assert split([stream[at : at + 1] for at in range(len(stream))]) == FRAMES


@given(st.lists(frames, max_size=6), st.data())
def test_frames_come_out_wherever_the_stream_is_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert split(chunks) == sent


def test_a_partial_frame_is_held_and_said_to_be_there() -> None:
    splitter = ReplySplitter()
    splitter.feed(b"*2\r\n:1\r\n$5\r\nab")
    assert splitter.next() is None
    assert splitter.has_partial
    splitter.feed(b"cde\r\n:2\r\n")
    assert splitter.next() == b"*2\r\n:1\r\n$5\r\nabcde\r\n"
    assert splitter.next() == b":2\r\n"
    assert splitter.next() is None


@given(st.lists(st.binary(max_size=20), max_size=6), st.booleans())
def test_rubbish_is_refused_or_split_without_loss(chunks: list[bytes], framed: bool) -> None:
    splitter, found = ReplySplitter(), []
    try:
        for chunk in [b"*2\r\n", *chunks] if framed else chunks:
            splitter.feed(chunk)
            while (frame := splitter.next()) is not None:
                found.append(frame)
    except ProtocolError:
        return
    assert (b"*2\r\n" * framed + b"".join(chunks)).startswith(b"".join(found))


@pytest.mark.parametrize(
    "rubbish",
    [b"x", b"$x\r\n", b"$-2\r\n", b"*1_0\r\n", b"$?\r\n", b"$ 3\r\nabc\r\n", b"$1\r\nabc\r\n", b"*1\r\nHTTP/1.1\r\n"],
)
def test_what_is_no_reply_is_an_error(rubbish: bytes) -> None:
    splitter = ReplySplitter()
    splitter.feed(rubbish)
    with pytest.raises(ProtocolError):
        splitter.next()


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    splitter = ReplySplitter()
    splitter.feed(b"+" + b"a" * (1024 * 1024 + 1))
    with pytest.raises(ProtocolError, match="no end"):
        splitter.next()


@given(st.lists(frames, max_size=5))
def test_elements_take_an_aggregate_apart(items: list[bytes]) -> None:
    assert elements(b"*%d\r\n%b" % (len(items), b"".join(items))) == items


def test_elements_of_maps_and_nulls() -> None:
    assert elements(b"%1\r\n+a\r\n*1\r\n:1\r\n") == [b"+a\r\n", b"*1\r\n:1\r\n"]
    assert elements(b"*-1\r\n") == []


@pytest.mark.parametrize(
    "frame", [b"$1\r\na\r\n", b"*2\r\n:1\r\n", b"*1\r\n$4\r\nab\r\n", b"*1\r\n:1\r\n:2\r\n", b"", b"*1"]
)
def test_elements_refuse_what_is_no_complete_aggregate(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        elements(frame)


def test_values_of_single_frames() -> None:
    assert integer_of(b":-7\r\n") == -7
    assert bulk_of(b"$2\r\n\r\n\r\n") == b"\r\n"
    assert bulk_of(b"+OK\r\n") == b"OK"
    assert bulk_of(b"=6\r\ntxt:ab\r\n") == b"ab"
    assert is_error(b"-ERR\r\n")
    assert is_error(b"!3\r\nERR\r\n")
    assert not is_error(b"+-\r\n")
    assert all(map(is_null, [b"$-1\r\n", b"*-1\r\n", b"_\r\n"]))
    for wrong in (b"+1\r\n", b"$1\r\n1\r\n"):
        with pytest.raises(ProtocolError):
            integer_of(wrong)
    for wrong in (b":1\r\n", b"$-1\r\n", b"*0\r\n"):
        with pytest.raises(ProtocolError):
            bulk_of(wrong)


@given(st.lists(bulks, min_size=1, max_size=5))
def test_splitting_agrees_with_hiredis(sent: list[bytes]) -> None:
    reader = hiredis.Reader()
    reader.feed(b"".join(sent))
    assert [bulk_of(frame) for frame in split([b"".join(sent)])] == [reader.gets() for _ in sent]
