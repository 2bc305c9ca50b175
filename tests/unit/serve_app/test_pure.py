"""The parts of the HTTP door that know no request: headers, conditions, forms, limits, commands, settings, start-up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache import errors
from raycache.cli.http import http, wish_of
from serve_app import starting
from serve_app.admission import Admission, Bucket, Quota
from serve_app.auth import caller_of
from serve_app.commands import encoding, rights
from serve_app.middleware import wished_s
from serve_app.problems import Refused, problem_of, refuse
from serve_app.rest import batches, negotiation
from serve_app.rest.conditions import Conditions, versions_in
from serve_app.rest.lifetimes import headers_of, seconds_of
from serve_app.rest.paths import key_of
from serve_app.settings import HttpSettings, Token, digest_of


@pytest.mark.parametrize(("header", "seconds"), [
    (None, None), ("", None), ("no-cache", None), ("max-age=60", 60), ("public, Max-Age = \"5\"", 5),
    ("max-age=60, s-maxage=30", 30), ("max-age=99999999999999", 2**31)])
def test_cache_control_is_a_time_to_live(header: str | None, seconds: int | None) -> None:
    assert seconds_of(header) == seconds


@pytest.mark.parametrize("header", ["max-age=0", "max-age=-1", "max-age=x", "max-age=", "s-maxage=1.5"])
def test_a_lifetime_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(Refused) as refused:
        seconds_of(header)
    assert refused.value.problem.status == 422


@given(st.integers(0, 10**9), st.integers(0, 10**12), st.integers(0, 10**12))
def test_max_age_less_age_is_what_is_left(left_ms: int, written_ms: int, now_ms: int) -> None:
    headers = dict(headers_of(left_ms, written_ms, now_ms))
    max_age, age = int(headers[b"cache-control"].partition(b"=")[2]), int(headers[b"age"])
    assert age >= 0
    assert abs(max_age - age - left_ms / 1000) <= 0.5


def test_tags_that_are_not_ours_never_fit() -> None:
    assert versions_in('"1", W/"2", "x", nonsense, "03"', weak=True) == {1, 2}
    assert versions_in('"1", W/"2"', weak=False) == {1}
    assert (versions_in(" * ", weak=False), versions_in(None, weak=True)) == ("*", None)


@pytest.mark.parametrize(("match", "none_match", "at_once"), [
    (None, None, "ANY"), (None, "*", "NX"), ("*", None, "XX"), ('"7"', None, 7), ('"7", "8"', None, None),
    (None, '"7"', None), ("junk", None, None)])
def test_most_conditions_need_no_look_first(match: str | None, none_match: str | None, at_once: object) -> None:
    assert Conditions.of(match, none_match).at_once == at_once


def test_the_others_are_judged_by_the_version() -> None:
    assert Conditions.of('"7", "8"', None).writing(8) == 8
    assert Conditions.of('"7", "8"', None).writing(9) is None
    assert Conditions.of(None, '"7"').writing(7) is None
    assert Conditions.of(None, '"7"').writing(0) == "NX"
    assert [Conditions.of('"7"', '"7"').reading(version) for version in (7, 8, 0)] == [304, 412, 412]


@pytest.mark.parametrize(("accept", "form"), [
    (None, "json"), ("*/*", "json"), ("application/msgpack", "msgpack"), ("application/*", "json"),
    ("application/json;q=0.5, application/x-msgpack", "msgpack"), ("text/html", None),
    ("application/json;q=0, */*", "msgpack"), ("application/json;q=x", None)])
def test_the_preferred_form(accept: str | None, form: str | None) -> None:
    assert negotiation.wanted(accept, "json") == form


def test_keys_are_taken_from_the_raw_path() -> None:
    assert key_of({"raw_path": b"/prefix/v1/c/keys/a/keys/%FF%2f"}) == b"a/keys/\xff/"
    for raw, status in ((b"/v1/c/keys/", 422), (b"/v1/c/keys/" + b"k" * 4097, 414)):
        with pytest.raises(Refused) as refused:
            key_of({"raw_path": raw})
        assert refused.value.problem.status == status


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["set", "get", "delete", "key", "value", "base64", "ttl", "x"]), inner,
                        max_size=4)))
def test_any_document_is_a_batch_or_is_refused(document: object) -> None:
    try:
        batch = batches.batch_of(document, 10)
    except Refused as refused:
        status = refused.problem.status
    else:
        status = 200
        assert all(type(key) is bytes and key for key in [*batch.reads, *batch.deletes])
    assert status in (200, 413, 422)


def test_the_rate_of_a_caller() -> None:
    bucket = Bucket(2.0, 0.0)
    assert [bucket.take(2.0, 0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert bucket.take(2.0, 0.5) == 0.0
    admission = Admission(HttpSettings(max_requests_per_s=1))
    admission.spend("a", 0.0)
    admission.spend("b", 0.0)
    with pytest.raises(Refused) as refused:
        admission.spend("a", 0.1)
    assert (refused.value.problem.status, refused.value.problem.headers["Retry-After"]) == (429, "1")


def test_a_token_may_have_a_quota_of_its_own() -> None:
    admission = Admission(HttpSettings(max_requests_per_s=1))
    few, many, any_number = Quota(0.1), Quota(3), Quota(0)
    for count, quota in ((1, few), (3, many), (50, any_number)):
        for _ in range(count):
            admission.spend(str(count), 0.0, quota)
    for name, quota, wait in (("1", few, "10"), ("3", many, "1")):
        with pytest.raises(Refused) as refused:
            admission.spend(name, 0.0, quota)
        assert refused.value.problem.headers == {"Retry-After": wait}
    admission.change(HttpSettings())
    admission.spend("1", 0.0, few)  # other settings begin with nothing used up


def test_bytes_are_charged_afterwards_and_paid_off() -> None:
    admission = Admission(HttpSettings(max_bytes_per_s=1000))
    assert admission.spend("free", 0.0, Quota(bytes_per_s=0)) is None
    account = admission.spend("a", 0.0)
    assert account is not None
    account.charge(5_000)  # one request may go beyond
    with pytest.raises(Refused, match="1000 bytes a second") as refused:
        admission.spend("a", 1.0)
    assert refused.value.problem.headers["Retry-After"] == "4"
    assert admission.spend("b", 1.0) is not None
    with pytest.raises(Refused):
        admission.spend("a", 4.0)
    assert admission.spend("a", 4.002) is account


def test_quotas_are_told_and_kept() -> None:
    record = {"name": "a", "token": "a-long-enough-token", "max_requests_per_s": 5, "max_bytes_per_s": 0}
    settings = HttpSettings.from_mapping({"tokens": [record], "max_bytes_per_s": "10"})
    again = HttpSettings.from_mapping(settings.as_mapping())
    assert again == settings
    caller = caller_of(again, "a-long-enough-token")
    assert caller is not None
    assert (caller.quota, again.max_bytes_per_s) == (Quota(5, 0), 10.0)
    for wrong in (-1, "5", True, float("nan")):
        with pytest.raises(ValueError, match="limit must be"):
            Token.from_record({**record, "max_requests_per_s": wrong})


def test_bodies_are_counted_while_they_are_held() -> None:
    admission = Admission(HttpSettings(max_body_bytes=10, max_held_bytes=15))
    admission.hold(10)
    with pytest.raises(Refused):
        admission.hold(6)
    admission.release(10)
    admission.hold(15)
    with pytest.raises(Refused) as refused:
        admission.check_length(11)
    assert refused.value.problem.status == 413


@pytest.mark.parametrize(("error", "status"), [
    (errors.ClusterNotFoundError("x"), 404), (errors.ValueTooLargeError("x"), 413), (errors.OutOfMemoryError("x"), 507),
    (errors.DeadlineExceededError("x"), 504), (errors.ShardUnavailableError("x"), 503), (TimeoutError(), 504),
    (errors.NotEnoughReplicasError("x"), 503), (errors.WrongTypeError("x"), 409), (ZeroDivisionError("x"), 500),
    (refuse(418, "teapot", "x"), 418)])
def test_every_error_has_its_status(error: Exception, status: int) -> None:
    problem = problem_of(error)
    assert problem.status == status
    document = problem.document()
    assert (document["status"], document["type"], bool(document["title"])) == (
        status, f"urn:raycache:problem:{problem.kind}", True)


def test_a_caller_may_ask_for_less_time() -> None:
    assert wished_s([(b"prefer", b"respond-async, wait=2")], 10) == 2
    assert [wished_s([(b"prefer", text)], 10) for text in (b"wait=99", b"wait=x", b"")] == [10, 10, 10]


def test_commands_and_answers() -> None:
    assert encoding.command_of(["SET", "ä", 1, 1.5, True, {"a": [1]}]) == [
        b"SET", "ä".encode(), b"1", b"1.5", b"true", b'{"a":[1]}']
    for wrong in ([], [1], "GET", None, [None], ["GET", None]):
        with pytest.raises(Refused):
            encoding.command_of(wrong)
    reply = [b"OK", b"\xff", 1, None, [b"a"], errors.CommandError("ERR x")]
    assert encoding.result_of(reply, in_base64=False) == ["OK", "\ufffd", 1, None, ["a"], {"error": "ERR x"}]
    assert encoding.result_of(reply[:2], in_base64=True) == ["OK", "/w=="]
    assert encoding.path_command(b"/redis/c/set/a%2Fb", b"EX=100&NX", b"body", 8) == [
        b"set", b"a/b", b"body", b"EX", b"100", b"NX"]


def test_rights_of_commands() -> None:
    assert [rights.role_for([name]) for name in (b"get", b"PING", b"SET", b"NOSUCH", b"CONFIG", b"slowlog")] == [
        "reader", "reader", "writer", "writer", "admin", "admin"]
    assert rights.role_for_all([[b"GET"], [b"SET"]]) == "writer"
    assert all(rights.refusal_of([name]) for name in (b"AUTH", b"multi", b"RC.STATS", b"CLIENT"))
    assert rights.refusal_of([b"GET", b"k"]) is None


def test_settings_say_what_is_wrong_and_never_show_a_token(tmp_path: Path) -> None:
    for given_settings in ({"what": 1}, {"deadline_s": 0}, {"tokens": [{"name": "a", "token": "short"}]},
                           {"tokens": [{"name": "a"}]}, {"cors_origins": ["*", "https://a"]}, {"max_body_bytes": "x"},
                           {"tokens": [{"name": "a", "sha256": "0" * 64, "role": "king"}]}):
        with pytest.raises(ValueError, match=r"\S") as wrong:
            HttpSettings.from_mapping(given_settings)
        assert "short" not in str(wrong.value).replace("shorter", "")
    tokens = tmp_path / "tokens.json"
    tokens.write_text('[{"name": "a", "token": "0123456789abcdef", "role": "writer"}]')
    settings = HttpSettings.from_environment({"RAYCACHE_HTTP_TOKENS_FILE": str(tokens), "RAYCACHE_HTTP_DEADLINE_S": "2",
                                              "RAYCACHE_HTTP_CORS_ORIGINS": "https://a, https://b", "HOME": "/"})
    assert settings == HttpSettings(tokens=(Token("a", digest_of("0123456789abcdef"), "writer"),), deadline_s=2.0,
                                    cors_origins=("https://a", "https://b"))
    assert HttpSettings.from_mapping(settings.as_mapping()) == settings
    assert "0123456789abcdef" not in repr(settings) + repr(settings.as_mapping())


def test_an_admin_secret_alone_demands_nothing_of_others() -> None:
    settings = HttpSettings.from_mapping({"admin_secret": "0123456789abcdef"})
    assert (settings.is_open, settings.tokens[0].role) == (True, "admin")


def test_the_start_up_lets_no_strangers_in_and_knows_when_haproxy_cannot_be_used(tmp_path: Path) -> None:
    open_door = HttpSettings()
    for wish in (starting.Wish(open_door, "0.0.0.0"), starting.Wish(open_door, "192.0.2.1")):
        with pytest.raises(ValueError, match="--tokens-file"):
            starting.check(wish)
    starting.check(starting.Wish(open_door, "0.0.0.0", is_open_on_purpose=True))
    starting.check(starting.Wish(open_door))
    assert starting.obstacle_to_haproxy(starting.Wish(open_door), 1) is None
    assert "several nodes" in (starting.obstacle_to_haproxy(starting.Wish(open_door), 2) or "")
    assert starting.obstacle_to_haproxy(starting.Wish(open_door, "0.0.0.0"), 2) is None
    folder = starting.new_folder(str(tmp_path))
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [value for value in starting.haproxy_variables(folder).values() if value.startswith("/")]
    assert len(files) == 5
    assert all(value.startswith(str(folder)) for value in files)
    assert starting.reason_in("a\n[ALERT] (1) : x\nb\n") == "[ALERT] (1) : x"


def test_a_token_may_have_a_users_rights_and_then_it_administrates_nothing() -> None:
    record = {"name": "shop", "token": "0123456789abcdef", "role": "writer", "user": "web", "password_file": "/pw"}
    settings = HttpSettings.from_mapping({"tokens": [record]})
    assert (settings.tokens[0].user, settings.tokens[0].password_file) == ("web", "/pw")
    assert HttpSettings.from_mapping(settings.as_mapping()) == settings
    caller = caller_of(settings, "0123456789abcdef")
    assert caller is not None
    assert (caller.user, caller.password_file) == ("web", "/pw")
    for wrong in ({"password_file": ""}, {"user": ""}, {"user": 7}, {"role": "admin"}):
        with pytest.raises(ValueError, match="token 'shop'"):
            HttpSettings.from_mapping({"tokens": [record | wrong]})


def test_settings_in_the_place_of_others_open_the_door_to_nobody() -> None:
    tokens = [{"name": "shop", "token": "0123456789abcdef"}]
    settings = HttpSettings.from_mapping({"tokens": tokens, "admin_secret": "admin-admin-admin", "deadline_s": 3})
    slower = settings.but({"max_requests_per_s": 5})
    assert (slower.max_requests_per_s, slower.deadline_s, slower.tokens) == (5.0, 3.0, settings.tokens)
    others = settings.but({"tokens": [{"name": "report", "token": "abcdefabcdefabcdef"}]})
    assert [(one.name, one.role) for one in others.tokens] == [("report", "reader"), ("admin secret", "admin")]
    renewed = settings.but({"admin_secret": "another-secret-here"})
    assert [one.name for one in renewed.tokens] == ["shop", "admin secret"]
    assert renewed.tokens[1].digest == digest_of("another-secret-here")
    assert not any(one.is_open for one in (slower, others, renewed))


def test_tls_needs_both_files_and_serves_own_proxy() -> None:
    wish = starting.Wish(HttpSettings(), tls_cert="/door.pem", tls_key="/door.key")
    starting.check(wish)
    assert "no TLS" in (starting.obstacle_to_haproxy(wish, 1) or "")
    for wrong in (replace(wish, tls_key=""), replace(wish, tls_cert=""), replace(wish, tls_cert="door.pem")):
        with pytest.raises(ValueError, match=r"--tls-cert|absolute"):
            starting.check(wrong)


def test_the_command_line_says_users_and_certificates(tmp_path: Path) -> None:
    for name in ("pw", "door.pem", "door.key", "tokens.json"):
        (tmp_path / name).write_text("[]")
    files = {"tls_cert": str(tmp_path / "door.pem"), "tls_key": str(tmp_path / "door.key"),
             "password_file": str(tmp_path / "pw")}
    words = [f"--{name.replace('_', '-')}={path}" for name, path in files.items()] + ["--user", "web"]
    options = http.make_context("http", words).params
    wish = wish_of(options)
    assert (wish.tls_cert, wish.tls_key) == (files["tls_cert"], files["tls_key"])
    assert (wish.settings.user, wish.settings.password_file) == ("web", files["password_file"])
    with pytest.raises(ValueError, match="password_file"):
        wish_of(options | {"password_file": None})
