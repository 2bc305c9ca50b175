"""INFO: one text out of several."""

from __future__ import annotations

from raycache.gateway.info import merged_info, parsed_info, written_info
from raycache.resp import encode
from raycache.resp.reply import bulk_of

FIRST = (
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\ntcp_port:7000\r\nuptime_in_seconds:10\r\n\r\n"
    "# Clients\r\nconnected_clients:5\r\n\r\n"
    "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.0M\r\nmaxmemory_policy:allkeys-lru\r\n\r\n"
    "# Stats\r\nkeyspace_hits:3\r\n\r\n# Cluster\r\ncluster_enabled:1\r\n\r\n"
    "# Raycache\r\nraycache_shard_id:s0\r\nraycache_slots:10\r\nraycache_policy:lru\r\n"
    "raycache_loop_pause_max_ms:1.5\r\nraycache_uptime_s:4\r\n\r\n"
    "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=900\r\n"
)
SECOND = (
    FIRST.replace("uptime_in_seconds:10", "uptime_in_seconds:99")
    .replace("keys=3,expires=1,avg_ttl=900", "keys=5,expires=3,avg_ttl=100")
    .replace("raycache_shard_id:s0", "raycache_shard_id:s1")
    .replace("pause_max_ms:1.5", "pause_max_ms:0.5")
)
OWN = {"tcp_port": 6400, "connected_clients": 1, "raycache_role": "gateway"}


def merged(*replies: bytes, protocol: int = 2, copies: int = 1) -> dict[str, dict[str, str]]:
    return parsed_info(bulk_of(merged_info(lambda: OWN, protocol, copies)(list(replies))).decode())


def test_counts_add_up_times_do_not_and_the_gateway_speaks_for_itself() -> None:
    sections = merged(encode.bulk(FIRST.encode()), encode.bulk(SECOND.encode()))
    assert sections["Server"] == {
        "redis_version": "7.0.15",
        "redis_mode": "standalone",
        "tcp_port": "6400",
        "uptime_in_seconds": "99",
    }
    assert sections["Clients"] == {"connected_clients": "1"}
    assert sections["Memory"] == {
        "used_memory": "2097152",
        "used_memory_human": "2.0M",
        "maxmemory_policy": "allkeys-lru",
    }
    assert sections["Stats"] == {"keyspace_hits": "6"}
    assert sections["Cluster"] == {"cluster_enabled": "0"}
    assert sections["Raycache"] == {
        "raycache_slots": "20",
        "raycache_policy": "lru",
        "raycache_loop_pause_max_ms": "1.500000",
        "raycache_uptime_s": "4",
        "raycache_role": "gateway",
        "raycache_shards_unreachable": "0",
    }
    assert sections["Keyspace"] == {"db0": "keys=8,expires=4,avg_ttl=300"}


def test_a_dead_shard_is_left_out_and_counted() -> None:
    sections = merged(encode.bulk(FIRST.encode()), b"-CLUSTERDOWN s1\r\n")
    assert sections["Stats"] == {"keyspace_hits": "3"}
    assert sections["Raycache"]["raycache_shards_unreachable"] == "1"


def test_if_no_shard_answers_the_error_is_the_reply() -> None:
    assert merged_info(lambda: OWN, 2)([b"-CLUSTERDOWN s0\r\n", b"-CLUSTERDOWN s1\r\n"]) == b"-CLUSTERDOWN s0\r\n"


def test_a_section_asked_for_stays_alone() -> None:
    assert merged(encode.bulk(b"# Stats\r\nkeyspace_hits:3\r\n")) == {"Stats": {"keyspace_hits": "3"}}


def test_a_keyspace_that_only_one_shard_has() -> None:
    sections = merged(encode.bulk(b"# Keyspace\r\n"), encode.bulk(b"# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n"))
    assert sections == {"Keyspace": {"db0": "keys=1,expires=0,avg_ttl=0"}}


def test_resp3_gets_verbatim_text_from_verbatim_text() -> None:
    reply = merged_info(lambda: OWN, 3)([encode.verbatim(b"# Stats\r\nkeyspace_hits:3\r\n", 3)])
    assert reply.startswith(b"=")
    assert b"txt:# Stats\r\nkeyspace_hits:3\r\n" in reply


def test_writing_is_the_inverse_of_parsing() -> None:
    assert written_info(parsed_info(FIRST)) == FIRST


def test_what_copies_tell_is_said_of_the_cluster_and_not_added_up_blindly() -> None:
    def shard(copies: int, has_lease: int, waiting: int, age_ms: int) -> bytes:
        return encode.bulk((
            f"# Replication\r\nrole:master\r\nraycache_copies:{copies}\r\nraycache_has_lease:{has_lease}\r\n"
            f"raycache_loss_window_mutations:{waiting}\r\nraycache_loss_window_age_ms:{age_ms}\r\n\r\n"
            "# Keyspace\r\ndb0:keys=10,expires=2,avg_ttl=0\r\n"
        ).encode())  # fmt: skip

    sections = merged(shard(2, 1, 3, 40), shard(2, 0, 5, 1200), shard(2, 1, 0, 0), copies=2)
    fields = sections["Replication"]
    assert fields["raycache_copies"] == "2"
    assert fields["raycache_loss_window_mutations"] == "8"
    assert fields["raycache_loss_window_age_ms"] == "1200"  # of the oldest
    assert fields["raycache_has_lease"] == "0"  # somebody serves nothing
    assert sections["Keyspace"] == {"db0": "keys=15,expires=3,avg_ttl=0"}  # each key once, as DBSIZE has it


def test_a_text_is_that_of_a_shard_that_has_something_to_say() -> None:
    def shard(failure: str) -> bytes:
        return encode.bulk(f"# Raycache\r\nraycache_snapshot_failure:{failure}\r\n".encode())

    assert merged(shard(""), shard("disk full"), shard(""))["Raycache"]["raycache_snapshot_failure"] == "disk full"
