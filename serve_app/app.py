"""The application: routes, limits and errors put together, and its form as a Ray Serve deployment.

What lives here: `build_application`, which needs no Ray; `application_of` and, for config files, `build`,
which make the Serve application of it; and `app`, for `serve run serve_app.app:app`. What does not: any route.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from ray import serve

import raycache
from raycache.actors.metrics import push_all_forever
from serve_app import commands, health, rest
from serve_app.admission import Admission
from serve_app.answering import answer_errors
from serve_app.auth import require_admin, require_overview
from serve_app.clusters import Clusters, connecting_as
from serve_app.door import Door
from serve_app.figures import HttpFigures
from serve_app.middleware import Around
from serve_app.settings import HttpSettings
from serve_app.short import Application

Push = Callable[[HttpFigures], Coroutine[Any, Any, None]]
"""Hands figures to whoever wants them, for as long as the application lives."""

EXPOSED_HEADERS: Final = ("Age", "ETag", "Retry-After")
_YOUNG_OBJECTS: Final = 20_000
"""How many objects more there are to be until the cyclic collector looks for garbage: some megabytes."""
_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
"""Of the framework's own: it would put whole paths, keys that is, into spans (docs/metrics.md says what ours have)."""


def build_application(settings: HttpSettings | None = None, clusters: Clusters | None = None,
                      push: Push | None = None) -> FastAPI:
    """Return the application, ready for any ASGI server.

    Args:
        settings: None: all defaults.
        clusters: where handles come from; None: from Ray, by name.
        push: takes the figures; None: nobody does.
    """
    settings = settings or HttpSettings()
    if clusters is None:
        clusters = Clusters(connecting_as(settings.user, settings.password_file), default=settings.cluster,
                            timeout_s=settings.deadline_s)
    door = Door(settings, clusters, Admission(settings))
    door.classes |= rest.classes | health.classes

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        pushing = asyncio.create_task(push(door.figures), name="metrics") if push is not None else None
        yield
        if pushing is not None:
            pushing.cancel()
        door.deadlines.close()
        await door.clusters.close()

    application = Application(door, for_browsers=bool(settings.cors_origins), title="raycache",
                              version=raycache.__version__, lifespan=life, telemetry=_NO_TELEMETRY,
                          description="A distributed in-memory cache in a Ray cluster, over HTTP.")
    application.state.door = door
    application.add_middleware(Around, door=door)
    if settings.cors_origins:
        application.add_middleware(CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["*"],
                                   allow_headers=["*"], expose_headers=list(EXPOSED_HEADERS))
    answer_errors(application)
    # Not by `include_router`: a route that stands here itself is found quicker, and those of keys first of all.
    application.state.own_routes = [*rest.routes, *health.router.routes, *commands.router.routes]
    application.router.routes[:0] = application.state.own_routes
    if importlib.util.find_spec("serve_app.page") is not None:
        page = importlib.import_module("serve_app.page")
        router = page.page_router(clusters, reader=require_overview, admin=require_admin)
        application.state.own_routes += router.routes
        application.include_router(router, include_in_schema=False)
        _describe_page(application)
    application.router.routes.extend(commands.paths.routes)  # last: any path whose first part is a command
    return application


def _describe_page(application: FastAPI) -> None:
    """Let the description name the page itself; what the page asks for is its own matter."""
    described = application.openapi

    def with_page() -> dict[str, Any]:
        document = described()
        answer = {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}
        document["paths"].setdefault("/", {}).setdefault(
            "get", {"summary": "The operator's page", "responses": {"200": answer}})
        return document

    application.openapi = with_page  # type: ignore[method-assign]


async def _push_to_ray(figures: HttpFigures) -> None:
    await push_all_forever(figures.samples)


def _keep_collector_away() -> None:
    """Let the cyclic collector look at young objects only now and then, and at those of the start-up never again.

    A request makes some hundred objects, of which next to none are in cycles; by its default the collector looks
    through them every few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


class HttpDoor:
    """One Serve replica of the door."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._settings = HttpSettings.from_environment(os.environ) if settings is None else (
            HttpSettings.from_mapping(settings))
        self._application = build_application(self._settings, push=_push_to_ray)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Hand the application to Serve, which calls this in the replica."""
        _keep_collector_away()
        return self._application

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take settings from a config file in the place of those that the door was started with, without a restart.

        What the file does not name stays. Origins for browsers and the door's own user need a restart. On the loop of
        the requests, since connections may have to be made anew.
        """
        self._application.state.door.change(self._settings.but(user_config))


QUIET: Final = {"enable_access_log": False, "log_level": "WARNING"}
"""For Serve's own log. A line for each request takes a tenth of a GET's time in the Serve replica, and half of that
even where it is made and not written. The door counts requests itself; a config file may say otherwise."""

_deployment: Any = serve.deployment(
    name="http", max_ongoing_requests=1_000, graceful_shutdown_timeout_s=20.0, graceful_shutdown_wait_loop_s=0.5,
    ray_actor_options={"num_cpus": 0.5}, logging_config=QUIET)(serve.ingress()(HttpDoor))


def application_of(args: Mapping[str, Any] | None = None, **options: Any) -> serve.Application:
    """Return the Serve application.

    Args:
        args: settings, as `HttpSettings` names them; empty: the environment's (`RAYCACHE_HTTP_...`), read in each
            replica.
        options: what Serve's `Deployment.options` takes, such as `num_replicas`.
    """
    application: serve.Application = _deployment.options(**options).bind(dict(args) if args else None)
    return application


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application for a config file: Serve takes nothing with more parameters than the file's `args`."""
    return application_of(args)


app = application_of()
