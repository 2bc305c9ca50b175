"""Several machines on one box, for tests of what happens when one of them goes: Linux, root, Debian's iproute2.

    with Hosts() as hosts:
        one, two = hosts.add(), hosts.add()
        one.run(["ping", "-c1", two.address])
        two.cut_off(); two.heal(); two.power_off(); two.power_on()

Whatever becomes of the program that made them, they end with it: nothing is left that has to be cleared away.
"""

from raycache.testing.hosts.host import Host, HostError
from raycache.testing.hosts.hosts import Hosts, why_unavailable
from raycache.testing.hosts.ray_nodes import RayNodes

__all__ = ["Host", "HostError", "Hosts", "RayNodes", "why_unavailable"]
