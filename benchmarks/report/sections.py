"""The report's sections: what each says of how it was measured, and which plots and tables it has.

What lives here: text, in the order of the report. It says nothing of what came out: that is in the tables alone, and
cannot contradict them. What does not: putting it together (`pages`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.report import tables
from benchmarks.report.reading import Run

Table = Callable[[Run], str]
rps, rps_of_tool, set_rps_of_tool = (
    lambda dimension: partial(tables.along, dimension=dimension, cell=tables.rps),
    lambda dimension: partial(tables.along, dimension=dimension, cell=tables.rps, tools=True),
    lambda dimension: partial(tables.along, dimension=dimension, cell=tables.set_rps, tools=True),
)


@dataclass(frozen=True, slots=True)
class Section:
    """One section. Those whose plots and tables have nothing to show are left out."""

    title: str
    text: str
    """With the names of `facts` in braces."""
    plots: Sequence[str] = ()
    tables: Sequence[Table] = ()
    facts: str = ""
    """The question whose facts the text needs."""


SECTIONS: Final = (
    Section("Goals", "Every speed and memory goal that was set, and what this run measured.", (), (tables.figures,)),
    Section("One load, all sides", """
8 connections, 100-byte values, keys drawn uniformly, 95 reads in 100 requests; closed loop, each side through its usual
Python client. The Ray actor holds a dict, which is what Ray users do today. The raw echo sends as many bytes to and fro
as a GET or SET has, and looks at none: no server on the loop that shards run on can be faster, one in C can. The last
column is raycache's throughput over the side's, taken round by round. In brackets: lowest to highest round.

The second table is redis-benchmark on the same servers: a client in C shows what servers can do. A Redis Cluster has
three nodes at least; a quick run does not load it with this tool.""", ("percentiles",), (tables.base, tables.tool)),
    Section("Throughput against connections", """
Requests a second. Python callers are threads, in as many processes as there are cores. Dashed, and in the second table:
GET/s of redis-benchmark.""", ("connections",), (rps("connections"), rps_of_tool("connections"))),
    Section("Arrivals at a constant rate", """
An open loop with 16 connections: requests are due at their times, whether or not earlier ones have ended, and each wait
counts from when it was due. Median / p99 in milliseconds. "Not kept" says how many a second were answered where the
rate was too much; that side was not asked at higher ones. A hollow mark in the plot is the same.

The second table shows p99 counted from the sending, too. That is what a benchmark sees that waits for an answer before
it asks again: while a server stands still, such a benchmark asks nothing, and omits what others would have waited.""",
            ("rates", "open-percentiles"),
            (partial(tables.along, dimension="rate", cell=tables.open_latency), tables.hidden)),
    Section("Sizes of values", """
Megabytes of values a second, then requests a second; 8 connections. Large values have fewer keys, so that all together
take 256 MiB at most.""", ("values",),
            (partial(tables.along, dimension="value_bytes", cell=tables.megabytes), rps("value_bytes"))),
    Section("Popularity of keys", """
Requests a second with keys drawn uniformly, and by Zipf's law with an exponent of 0.99.""", (), (rps("keys"),)),
    Section("Reads and writes", "Requests a second by how many of 100 are reads.", (), (rps("read_percent"),)),
    Section("Entries", "Requests a second by how many keys there are.", ("entries",), (rps("entries"),)),
    Section("Shards", """
Requests a second by the number of shards: through Python clients, then GET/s and SET/s of redis-benchmark. A Redis
Cluster has three nodes at least. Shards and clients share the cores of one machine, so that more shards than cores can
bring nothing here.""", ("shards",), (rps("shards"), rps_of_tool("shards"), set_rps_of_tool("shards"))),
    Section("Copies", """
Three shards, and half the requests are writes. A Redis Cluster has a replica for each further copy. Python clients,
then SET/s of redis-benchmark.""", ("copies",), (rps("copies"), set_rps_of_tool("copies"))),
    Section("Pauses", """
Everybody is full and evicts: {writes_per_s:,} new keys a second are written, and {probes_per_s:,} probes a second ask
for a key at their times. Of 100,000 probes so many waited at least so long. The raw echo stores nothing: its waits are
the machine's and the clients' own, and are in the others', too.""", ("pauses",), (tables.pauses,), "pauses"),
    Section("Memory an entry", """
Bytes beyond a {key_bytes}-byte key and a {value_bytes}-byte value, {entries:,} entries: by how much the servers'
resident memory grew, and what they say themselves.""", ("memory",), (tables.memory,), "memory"),
    Section("Hits against size", """
Each policy of raycache's own store; the size is a part of the distinct keys. The optimum knows the future: nobody can
have more. Bold is the best of a column.""", ("hits",), (tables.all_hits,), "hits"),
)
