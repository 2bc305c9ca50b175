"""What hosts promise: own addresses and processes, silence when power or cable goes, and nothing left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from raycache.testing.hosts import Host, HostError, Hosts
from tests.support import wait_until

ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("0.0.0.0", 7000), Echo).serve_forever()
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000), 0.5) as connection:
    connection.sendall(b"hello")
    print(connection.recv(100).decode())
"""


def start_echo(host: Host) -> None:
    host.popen([sys.executable, "-c", ECHO])
    wait_until(lambda: answers(host))


def answers(host: Host) -> bool:
    try:
        with dial(host) as connection:
            return echoes(connection)
    except OSError:
        return False


def dial(host: Host, patience_s: float = 0.5) -> socket.socket:
    return socket.create_connection((host.address, 7000), patience_s)


def echoes(connection: socket.socket) -> bool:
    connection.sendall(b"hello")
    return connection.recv(100) == b"hello"


def ask(asker: Host, asked: Host) -> str:
    return asker.run([sys.executable, "-c", ASK, asked.address]).strip()


def test_hosts_reach_each_other_and_this_machine_reaches_them(hosts: Hosts) -> None:
    one, two = hosts.add(), hosts.add()
    assert one.address != two.address
    start_echo(two)
    assert ask(one, two) == "hello"
    assert not answers(one), "each has ports of its own"


def test_a_host_has_processes_a_disk_and_memory_of_its_own(hosts: Hosts) -> None:
    one, two = hosts.add(), hosts.add()
    one.run(["sh", "-c", "echo kept > $TMPDIR/file; echo gone > /dev/shm/file"])
    assert (one.disk / "file").read_text() == "kept\n"
    assert two.run(["sh", "-c", "cat $TMPDIR/* /dev/shm/* 2>/dev/null || true"]) == ""
    assert not Path("/dev/shm/file").exists()
    sleeper = two.popen(["sleep", "100"])
    wait_until(lambda: two.pids("sleep"))
    assert not one.pids("sleep")
    assert "sleep" not in one.run(["sh", "-c", "cat /proc/[0-9]*/comm"])
    two.end(sleeper)
    assert not two.pids("sleep")


def test_what_a_command_says_when_it_fails_is_in_the_error(hosts: Hosts) -> None:
    with pytest.raises(HostError, match="ended with 3: no such luck"):
        hosts.add().run(["sh", "-c", "echo no such luck; exit 3"])


def test_a_power_off_is_silent_and_only_the_disk_survives_it(hosts: Hosts) -> None:
    one = hosts.add()
    start_echo(one)
    one.run(["sh", "-c", "echo kept > $TMPDIR/file"])
    with dial(one) as connection:
        one.power_off()
        assert not one.is_on
        with pytest.raises(TimeoutError):  # neither an end nor a reset: a dead machine says nothing
            echoes(connection)
    with pytest.raises(OSError, match=r"timed out|No route"):
        dial(one)
    one.power_on()
    with pytest.raises(ConnectionRefusedError):
        dial(one, 10.0)  # the first packet may come before the cable is ready, and the next is sent a second later
    assert one.run(["sh", "-c", "cat $TMPDIR/file"]) == "kept\n"
    start_echo(one)


def test_a_cut_off_host_runs_on_alone_and_comes_back_as_it_was(hosts: Hosts) -> None:
    one, two = hosts.add(), hosts.add()
    start_echo(one)
    with dial(one) as connection:
        assert echoes(connection)
        one.cut_off()
        with pytest.raises(TimeoutError):
            echoes(connection)
        with pytest.raises(HostError, match=r"Timeout|No route"):
            ask(two, one)
        assert ask(one, one) == "hello", "it does not notice"
        one.heal()
        connection.settimeout(10)
        assert connection.recv(100) == b"hello", "what was sent meanwhile arrives"


def test_two_hosts_can_lose_each_other_alone(hosts: Hosts) -> None:
    one, two, three = hosts.add(), hosts.add(), hosts.add()
    start_echo(one)
    assert ask(two, one) == "hello"
    one.block(two)
    with pytest.raises(HostError, match="Timeout"):
        ask(two, one)
    assert ask(three, one) == "hello"
    one.unblock(two)
    assert ask(two, one) == "hello"


def test_orphans_are_collected(hosts: Hosts) -> None:
    one = hosts.add()
    orphan = int(one.run(["sh", "-c", "sleep 100 >/dev/null 2>&1 & echo $!"]))
    one.run(["kill", "-9", str(orphan)])
    wait_until(lambda: f"/proc/{orphan}/stat" not in one.run(["sh", "-c", "echo /proc/[0-9]*/stat"]).split())


MAKER = """
import time
from raycache.testing.hosts import Hosts
hosts = Hosts()
host = hosts.add()
host.popen(["sleep", "12345"])
while not host.pids("sleep"):
    time.sleep(0.01)
print(host.pids("sleep")[0], hosts.gateway.split(".")[2], host.disk, flush=True)
time.sleep(100)
"""


def test_hosts_end_with_the_program_that_made_them(hosts: Hosts) -> None:
    maker = subprocess.Popen([sys.executable, "-c", MAKER], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    sleeper, network, disk = maker.stdout.readline().split()
    left = [Path(f"/sys/class/net/rchosts{network}"), Path(f"/proc/{sleeper}"), Path(disk)]
    assert all(path.exists() for path in left)
    maker.kill()
    maker.communicate()
    wait_until(lambda: not any(path.exists() for path in left))


def test_hosts_of_two_programs_do_not_meet(hosts: Hosts) -> None:
    with Hosts() as others:
        assert others.gateway != hosts.gateway
        start_echo(others.add())
        assert not answers(hosts.add())
