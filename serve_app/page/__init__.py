"""The page: what an operator looks at.

What lives here: `page_router`, its routes. `routes.py` has HTTP, `poller.py` and `office.py` ask the cluster, `feed.py`
and `happenings.py` make of the answers what is shown, `static/` draws it. What does not: the application that it is
part of (`serve_app.app`), who may see what (`serve_app.auth`).
"""

from serve_app.page.routes import page_router

__all__ = ["page_router"]
