"""The rule for gateways: one on every node that has shards, none elsewhere.

What lives here: one function that the step calls. What does not: the gateways themselves (`raycache.gateway`).
"""

from __future__ import annotations

from collections.abc import Iterator

from raycache.router.messages import Action, CreateGateway, RemoveGateway
from raycache.router.records import GatewayRecord
from raycache.router.state import RouterState


def settle_gateways(state: RouterState, now_s: float) -> Iterator[Action]:
    """Create the missing ones, ask again for those that do not come, remove those that nobody needs."""
    wanted = state.gateway_nodes()
    for node_id in sorted(wanted - state.gateways.keys()):
        state.gateways[node_id] = GatewayRecord(node_id, now_s)
        yield CreateGateway(node_id)
    for node_id in sorted(state.gateways):
        record = state.gateways[node_id]
        if node_id not in wanted:
            del state.gateways[node_id]
            yield RemoveGateway(node_id)
        elif record.info is None and now_s - record.asked_at_s >= state.patience.restart_deadline_s:
            record.asked_at_s = now_s
            yield CreateGateway(node_id)
