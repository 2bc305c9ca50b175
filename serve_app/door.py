"""What all routes of one Serve replica share.

What lives here: `Door` and how a request reaches it. What does not: the parts. Belongs to the replica's loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from serve_app.classes import CLASS
from serve_app.deadlines import Deadlines
from serve_app.figures import HttpFigures
from serve_app.settings import HttpSettings

if TYPE_CHECKING:
    from starlette.requests import Request

    from serve_app.admission import Admission
    from serve_app.auth import Caller
    from serve_app.clusters import Clusters

ACCOUNT: Final = "raycache.account"
"""Under this name the scope of a request has what its bytes are charged to, where they have a limit."""
BODY_BYTES: Final = "raycache.body_bytes"
"""And under this how long its body was."""


class Door:
    """Settings, clusters, limits and figures of one Serve replica."""

    __slots__ = ("admission", "classes", "clusters", "deadlines", "figures", "is_draining", "is_open", "settings")

    def __init__(self, settings: HttpSettings, clusters: Clusters, admission: Admission) -> None:
        self.settings = settings
        self.is_open = settings.is_open
        """Whether nobody is asked for a token: asked for at every request, so it is not worked out each time."""
        self.clusters = clusters
        self.admission = admission
        self.deadlines = Deadlines()
        self.figures = HttpFigures()
        self.classes: dict[Any, str] = {}
        """By the function of a route, where all its requests have the same."""
        self.is_draining = False

    def change(self, settings: HttpSettings) -> None:
        """Go on with other settings; what is under way ends with those that it began with."""
        self.settings = settings
        self.is_open = settings.is_open
        self.admission.change(settings)
        self.clusters.change(settings.cluster)

    def clusters_of(self, caller: Caller) -> Clusters:
        """Return where handles with the rights of `caller` come from."""
        return self.clusters.of_user(caller.user, caller.password_file) if caller.user else self.clusters

    def answered(self, scope: Mapping[str, Any], status: int, took_s: float) -> None:
        """Count a request that is over; what no route has taken is of no class."""
        noted = scope.get(CLASS)
        class_ = noted or self.classes.get(scope.get("endpoint"), "")
        about = scope.get("path_params", {}).get("cluster")
        is_about_one = about is not None or noted is not None
        self.figures.answered(self.clusters.named(about or "") if is_about_one else "", class_, status, took_s)


def door_of(request: Request) -> Door:
    """Return the door that `request` came through."""
    door: Door = request.app.state.door
    return door
