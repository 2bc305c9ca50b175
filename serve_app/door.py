"""What all routes of one Serve replica share.

What lives here: `Door` and how a request reaches it. What does not: the parts. Belongs to the replica's loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_app.settings import HttpSettings

if TYPE_CHECKING:
    from starlette.requests import Request

    from serve_app.admission import Admission
    from serve_app.clusters import Clusters


class Door:
    """Settings, clusters and limits of one Serve replica."""

    __slots__ = ("admission", "clusters", "is_draining", "settings")

    def __init__(self, settings: HttpSettings, clusters: Clusters, admission: Admission) -> None:
        self.settings = settings
        self.clusters = clusters
        self.admission = admission
        self.is_draining = False

    def change(self, settings: HttpSettings) -> None:
        """Go on with other settings; what is under way ends with those that it began with."""
        self.settings = settings
        self.admission.change(settings)
        self.clusters.default = settings.cluster


def door_of(request: Request) -> Door:
    """Return the door that `request` came through."""
    door: Door = request.app.state.door
    return door
