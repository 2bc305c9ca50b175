"""Greetings, CLIENT, CONFIG, INFO and COMMAND."""

from __future__ import annotations

import pytest

from tests.unit.shard.harness import START_MS, Shard, parsed


def test_hello_switches_the_protocol_and_names_the_client(shard: Shard) -> None:
    greeting = shard.run("HELLO 3 SETNAME worker")
    assert greeting == {b"server": b"redis", b"version": b"7.4.0", b"proto": 3, b"id": 1, b"mode": b"standalone",
                        b"role": b"master",
                        b"modules": []}
    assert (shard.raw("GET", "none"), shard.run("CLIENT GETNAME")) == (b"_\r\n", b"worker")
    assert shard.run("HELLO 2")[:2] == [b"server", b"redis"]
    assert shard.raw("GET", "none") == b"$-1\r\n"


def test_a_refused_hello_changes_nothing(shard: Shard) -> None:
    assert shard.run("HELLO 3 AUTH nobody x") == "WRONGPASS invalid username-password pair or user is disabled."
    assert shard.run("HELLO 3 SETNAME 'a b'").startswith("ERR Client names cannot contain spaces")
    assert shard.run("HELLO 9") == "NOPROTO unsupported protocol version"
    assert (shard.session.protocol, shard.session.name) == (2, b"")


def test_hello_can_carry_the_secret() -> None:
    shard = Shard(secret="s3cret", require_auth=True)
    assert shard.run("HELLO 3 AUTH default s3cret")[b"proto"] == 3
    assert shard.run("PING") == b"PONG"


def test_what_drivers_send_first_is_taken_or_refused_and_the_connection_goes_on(shard: Shard) -> None:
    assert shard.run("CLIENT SETINFO LIB-NAME redis-py") == b"OK"
    assert shard.run("CLIENT SETINFO lib-ver 8.1.0") == b"OK"
    assert shard.run("CLIENT SETINFO LIB-OTHER x") == "ERR Unrecognized option 'LIB-OTHER'"
    assert shard.run("CLIENT SETINFO LIB-NAME 'a b'").startswith("ERR lib-name cannot contain spaces")
    assert shard.run("CLIENT UNBLOCK 1").startswith("ERR unknown subcommand")
    assert shard.run("SELECT 0") == b"OK"
    assert not shard.session.closing


def test_endless_names_are_refused(shard: Shard) -> None:
    assert shard.raw("CLIENT", "SETNAME", b"~" * 4096) == b"+OK\r\n"
    refusal = b"-ERR name is too long (4097 bytes, at most 4096)\r\n"
    assert shard.raw("CLIENT", "SETNAME", b"a" * 4097) == refusal
    assert shard.raw("CLIENT", "SETINFO", "LIB-NAME", b"a" * 4097) == refusal
    assert shard.raw("HELLO", "3", "SETNAME", b"a" * 4097) == refusal
    assert shard.run("CLIENT GETNAME") == b"~" * 4096


def test_client_list_and_info_describe_sessions(shard: Shard) -> None:
    other = shard.another()
    shard.run("CLIENT SETNAME other", session=other)
    shard.run("MULTI", session=other)
    shard.run("GET k", session=other)
    shard.advance(5000)
    lines = shard.run("CLIENT LIST").decode().splitlines()
    assert [dict(field.split("=", 1) for field in line.split())["id"] for line in lines] == ["1", "2"]
    fields = dict(field.split("=", 1) for field in lines[1].split())
    assert {name: fields[name] for name in ("name", "age", "idle", "multi", "cmd", "flags", "resp")} == {
        "name": "other", "age": "5", "idle": "5", "multi": "1", "cmd": "get", "flags": "x", "resp": "2"}
    assert shard.run("CLIENT LIST ID 2 77").decode().splitlines() == lines[1:]
    assert shard.run("CLIENT INFO").decode().startswith("id=1 addr=127.0.0.1:1000 ")


def test_a_long_client_list_comes_in_steps(shard: Shard) -> None:
    sessions = [shard.another() for _ in range(2000)]
    reply, steps = shard.drive(["CLIENT", "LIST"])
    lines = parsed(reply).decode().splitlines()
    assert [line.split()[0] for line in lines] == [f"id={one.id}" for one in [shard.session, *sessions]]
    assert steps > 2


@pytest.mark.parametrize("line", ["CLIENT KILL 127.0.0.1:1001", "CLIENT KILL ID 2", "CLIENT KILL ADDR 127.0.0.1:1001",
                                  "CLIENT KILL TYPE normal"])
def test_client_kill_closes_others_at_once(shard: Shard, line: str) -> None:
    killed: list[str] = []
    shard.another().kill = lambda: killed.append("other")
    assert shard.run(line) in (b"OK", 1)
    assert killed == ["other"]
    assert not shard.session.closing


def test_client_kill_closes_the_asking_one_after_its_reply(shard: Shard) -> None:
    shard.session.kill = lambda: pytest.fail("closed before its reply")
    assert shard.run("CLIENT KILL ID 1 SKIPME no") == 1
    assert shard.session.closing


def test_client_reply_silences(shard: Shard) -> None:
    assert shard.raw("CLIENT", "REPLY", "SKIP") == b""
    assert shard.raw("SET", "a", "1") == b""
    assert shard.raw("GET", "a") == b"$1\r\n1\r\n"
    assert shard.raw("CLIENT", "REPLY", "OFF") == b""
    assert shard.raw("SET", "a", "2") == b""
    assert shard.raw("MGET", *["a"] * 1000) == b""
    assert shard.raw("CLIENT", "REPLY", "ON") == b"+OK\r\n"
    assert shard.session.plain
    assert shard.raw("GET", "a") == b"$1\r\n2\r\n"


def test_config_answers_what_load_tools_ask(shard: Shard) -> None:
    assert shard.run("CONFIG GET save") == [b"save", b""]
    assert shard.run("CONFIG GET appendonly") == [b"appendonly", b"no"]
    assert shard.run("CONFIG GET maxmemory*") == [b"maxmemory", b"67108864", b"maxmemory-policy", b"allkeys-lru"]
    assert shard.run("CONFIG GET nothing") == []


def test_config_set_changes_what_may_change_and_takes_what_is_so_already(shard: Shard) -> None:
    assert shard.run("CONFIG SET save '' appendonly no") == b"OK"
    assert shard.run("CONFIG SET maxmemory 5") == (
        "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - can't set immutable config")
    assert shard.run("CONFIG SET proto-max-bulk-len 1mb") == "ERR CONFIG SET failed (possibly related to argument " \
        "'proto-max-bulk-len') - argument must be between 1048576 and 536870912"
    assert shard.run("CONFIG SET proto-max-bulk-len 2097152") == b"OK"
    assert shard.run("SET k " + "v" * 2_097_153).startswith("ERR string exceeds")


def test_a_config_set_that_fails_in_part_changes_nothing(shard: Shard) -> None:
    assert shard.run("CONFIG SET proto-max-bulk-len 2097152 nothing 1").startswith("ERR Unknown option")
    assert shard.core.max_value_bytes == 512 << 20


def test_resetstat_starts_the_counters_again(shard: Shard) -> None:
    resets: list[int] = []
    shard.core.reset_info = lambda: resets.append(1)
    shard.run("GET none")
    assert shard.run("CONFIG RESETSTAT") == b"OK"
    stats = shard.core.stats()
    assert (stats["misses"], stats["commands"], resets) == (0, 0, [1])


def test_info_has_what_clients_look_for(shard: Shard) -> None:
    shard.run("SET k v EX 5")
    text = shard.run("INFO").decode()
    for line in ("loading:0", "redis_version:7.0.15", "redis_mode:standalone", "cluster_enabled:0", "role:master",
                 "db0:keys=1,expires=1,avg_ttl=0", "raycache_entries:1", "maxmemory_policy:allkeys-lru"):
        assert f"\r\n{line}\r\n" in text
    assert shard.run("INFO keyspace") == b"# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=0\r\n"
    assert shard.run("INFO nothing") == b""


def test_info_and_statistics_carry_the_shells_fields() -> None:
    shard = Shard(info=lambda: {"connections": 7, "connections_refused": 3})
    assert shard.core.stats()["connections"] == 7
    assert b"rejected_connections:3\r\n" in shard.run("INFO stats")
    assert b"raycache_connections_refused:3\r\n" in shard.run("INFO raycache")


def test_time_is_the_shards(shard: Shard) -> None:
    shard.advance(7)
    assert shard.run("TIME") == [b"%d" % (START_MS // 1000), b"7000"]


def test_the_whole_command_table_parses_in_both_protocols(shard: Shard) -> None:
    for protocol in ("2", "3"):
        shard.run(f"HELLO {protocol}")
        table = parsed(shard.raw("COMMAND"))
        assert len(table) == shard.run("COMMAND COUNT") == len(shard.run("COMMAND LIST"))
        assert {len(entry) for entry in table} == {10}
    docs = parsed(shard.raw("COMMAND", "DOCS"))
    assert docs[b"get"][b"group"] == b"string"
    assert b"client|id" in docs[b"client"][b"subcommands"]


def test_questions_with_many_names_do_not_stop_the_loop(shard: Shard) -> None:
    reply, steps = shard.drive(["COMMAND", "INFO", *["get", "none"] * 500])
    assert parsed(reply)[:2] == [parsed(shard.raw("COMMAND", "INFO", "get"))[0], None]
    assert (len(parsed(reply)), steps > 10) == (1000, True)
    assert shard.run("COMMAND DOCS " + "get " * 257) == "ERR too many names, at most 256"
    assert shard.run("CONFIG GET " + "a* " * 33) == "ERR too many patterns, at most 32"


def test_command_list_filters(shard: Shard) -> None:
    assert shard.run("COMMAND LIST FILTERBY PATTERN *expire*") == [b"expire", b"pexpire", b"expireat", b"pexpireat",
                                                                   b"expiretime",
                                                                   b"pexpiretime"]
    assert b"multi" in shard.run("COMMAND LIST FILTERBY ACLCAT transaction")
    assert shard.run("COMMAND GETKEYS RC.MSET 0 1 a v 1 b w") == [b"a", b"b"]


@pytest.mark.parametrize("name", ["CLIENT", "CONFIG", "OBJECT", "MEMORY", "CLUSTER", "COMMAND"])
def test_containers_explain_themselves(shard: Shard, name: str) -> None:
    lines = shard.run(f"{name} HELP")
    assert lines[0].startswith(name.encode())
    assert lines[-2:] == [b"HELP", b"    Print this help."]
