"""INFO of the whole cluster, as if one server had written it.

What lives here: taking INFO texts apart, adding up what can be added, and writing one text. What does
not: the shards' fields (`raycache.shard`) and the gateway's own (`server`). Pure.

Counts and bytes are sums over the shards, times are the longest, the rest is the first shard's; what all must have
(a lease) is the least. The gateway's own fields (port, clients, mode) take the place of the shards'. Shards that did
not answer are left out and counted in `raycache_shards_unreachable`: ioredis and others ask INFO before they do
anything, and a dead shard must not keep them from the living ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from raycache.config import format_bytes
from raycache.gateway.merge import Merge
from raycache.resp import encode
from raycache.resp.reply import Frame, bulk_of, is_error

Sections = dict[str, dict[str, str]]
"""Section name to its fields, both in the order of the text."""

_SUMS: Final = frozenset({
    "used_memory", "used_memory_rss", "used_memory_peak", "used_memory_overhead", "used_memory_dataset", "maxmemory",
    "total_system_memory", "total_commands_processed", "total_connections_received", "instantaneous_ops_per_sec",
    "rejected_connections", "expired_keys", "evicted_keys", "keyspace_hits", "keyspace_misses", "total_error_replies",
    "total_net_input_bytes", "total_net_output_bytes", "used_cpu_sys", "used_cpu_user",
})
_LONGEST: Final = frozenset({
    "uptime_in_seconds", "uptime_in_days", "raycache_uptime_s", "raycache_loss_window_age_ms", "raycache_epoch",
    "raycache_snapshot_seconds",
})
_LEAST: Final = frozenset({"raycache_has_lease", "raycache_snapshot_began_ms"})
_ALIKE: Final = frozenset({"raycache_copies"})
"""Numbers that say the same of the whole cluster on every shard."""
_OF_ONE_SHARD: Final = frozenset({"raycache_shard_id"})
_STANDALONE: Final = {"redis_mode": "standalone", "cluster_enabled": "0", "loading": "0", "role": "master"}
"""What a client that knows no clusters wants to read; each only where the section has it."""


def parsed_info(text: str) -> Sections:
    """Return the sections of an INFO text."""
    sections: Sections = {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            fields = sections.setdefault(line[2:], {})
        elif line:
            name, _, value = line.partition(":")
            fields[name] = value
    return sections


def written_info(sections: Sections) -> str:
    """Return the INFO text of `sections`."""
    blocks = [
        f"# {name}\r\n" + "".join(f"{field}:{value}\r\n" for field, value in fields.items())
        for name, fields in sections.items()
    ]
    return "\r\n".join(blocks)


def merged_info(own_fields: Callable[[], Mapping[str, object]], protocol: int, copies: int = 1,
                own_sections: Callable[[], Sections] = dict) -> Merge:
    """Return the merge rule of INFO. `own_fields` are the gateway's; `raycache_...` among them go to that section.

    Args:
        own_sections: those of the gateway that take the place of the shards', where these have them.
        copies: on how many shards each key is; it counts once, as in DBSIZE.
    """

    def merge(replies: Sequence[Frame]) -> Frame:
        answered = [reply for reply in replies if not is_error(reply)]
        if not answered:
            return replies[0]
        texts = [parsed_info(bulk_of(reply).decode("utf-8", "replace")) for reply in answered]
        own = {**own_fields(), "raycache_shards_unreachable": len(replies) - len(answered)}
        return encode.verbatim(written_info(_merged(texts, own, copies, own_sections())).encode(), protocol)

    return merge


def _merged(texts: Sequence[Sections], own: Mapping[str, object], copies: int, own_sections: Sections) -> Sections:
    sections: Sections = {}
    for name in dict.fromkeys(name for text in texts for name in text):
        alike = [text.get(name, {}) for text in texts]
        sections[name] = {
            field: _merged_field(name, field, [fields[field] for fields in alike if field in fields], copies)
            for field in dict.fromkeys(field for fields in alike for field in fields if field not in _OF_ONE_SHARD)
        }
    taken = {field: str(value) for field, value in {**_STANDALONE, **own}.items()}
    for fields in sections.values():
        fields.update({field: value for field, value in taken.items() if field in fields})
    if "Raycache" in sections:
        sections["Raycache"] |= {field: value for field, value in taken.items() if field.startswith("raycache_")}
    for name, fields in own_sections.items():
        if name in sections:
            sections[name] = fields
    _rewrite_derived(sections)
    return sections


def _merged_field(section: str, field: str, values: Sequence[str], copies: int) -> str:
    if section == "Keyspace":
        return _merged_keyspace(values, copies)
    is_longest = field in _LONGEST or (field.startswith("raycache_loop_") and "_max_" in field)
    if field not in _ALIKE and (is_longest or field in _SUMS or field.startswith("raycache_")):
        try:
            numbers = [float(value) if "." in value else int(value) for value in values]
        except ValueError:
            return next(filter(None, values), "")  # a text: of the first that has something to say
        result = max(numbers) if is_longest else min(numbers) if field in _LEAST else sum(numbers)
        return f"{result:.6f}" if isinstance(result, float) else str(result)
    return values[0]


def _merged_keyspace(values: Sequence[str], copies: int) -> str:
    """Add up `keys=3,expires=1,avg_ttl=900`, each key once; the average is weighted by the keys that expire."""
    rows = [dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair) for value in values]
    counts = [{name: int(number) for name, number in row.items() if number.isdigit()} for row in rows]
    keys, expires = (sum(row.get(name, 0) for row in counts) for name in ("keys", "expires"))
    weighted = sum(row.get("avg_ttl", 0) * row.get("expires", 0) for row in counts)
    ttl = weighted // expires if expires else 0
    return f"keys={-(-keys // copies)},expires={-(-expires // copies)},avg_ttl={ttl}"


def _rewrite_derived(sections: Sections) -> None:
    """Bring the readable twins of byte counts (`used_memory_human`) in line with the sums."""
    for fields in sections.values():
        for field in fields:
            base = field.removesuffix("_human")
            if base != field and fields.get(base, "").isdigit():
                # Redis writes "1.50M": one letter, no blank.
                fields[field] = format_bytes(int(fields[base])).replace(" ", "").replace("iB", "")
