"""Hosts that look like machines of their own to whoever comes by ssh: a home, a /tmp, a /run and an ssh server each.

What they share with this machine is its programs. Their keys are made anew for each set; nobody else has them.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from raycache.testing.hosts import Host

# Mounts are the host's alone, and go with it. Its folder is at `$1` and has to stay there when /tmp is its own.
_FURNISH: Final = """
set -e
mkdir -p "$1/home/.ssh" "$1/root-tmp/$(echo "$1" | cut -d/ -f3-)" "$1/etc"
chmod 1777 "$1/root-tmp"
sed "s#^root:\\([^:]*:[^:]*:[^:]*:[^:]*\\):[^:]*:.*#root:\\1:$1/home:/bin/bash#" /etc/passwd > "$1/etc/passwd"
cp "$2.pub" "$1/home/.ssh/authorized_keys"
cp "$2" "$1/etc/host_key"; chmod 600 "$1/etc/host_key"; chmod -R go= "$1/home"
cat > "$1/etc/sshd_config" <<END
HostKey $1/etc/host_key
PidFile $1/etc/sshd.pid
AuthorizedKeysFile $1/home/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
Subsystem sftp internal-sftp
END
mount --bind "$1/etc/passwd" /etc/passwd
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount --bind "$1" "$1/root-tmp/$(echo "$1" | cut -d/ -f3-)"
mount --rbind "$1/root-tmp" /tmp
hostname "$3"
ip route add default via "$4"  # so that a machine finds its own address as it would elsewhere
exec /usr/sbin/sshd -D -e -f "$1/etc/sshd_config"
"""


def make_key(folder: Path) -> Path:
    """Make a key pair; return the private one's path."""
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


def serve_ssh(host: Host, key: Path, name: str, gateway: str) -> None:
    """Furnish a host and start its ssh server, which lets in who has `key`; it may take a moment."""
    log = open(host.disk / "sshd.log", "w")  # noqa: SIM115  # the server writes to it as long as it lives
    host.popen(["bash", "-c", _FURNISH, "furnish", str(host.tmp), str(key), name, gateway], stdout=log,
               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    log.close()


def home_of(host: Host) -> Path:
    """Return a furnished host's home, as this machine sees it."""
    return host.disk / "home"


def tmp_of(host: Host) -> Path:
    """Return a furnished host's /tmp, as this machine sees it."""
    return host.disk / "root-tmp"


def processes(host: Host) -> list[str]:
    """Return the command lines of all that runs in a host."""
    mine = os.readlink(f"/proc/{host.pid}/ns/pid")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns/pid") == mine:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:
            continue  # it ended while we looked
    return sorted(filter(None, found))
