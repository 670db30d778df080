"""`GET /metrics`: what operators watch, in the Prometheus text format; see `adapters.metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from adapters.metrics import REGISTRY

router = APIRouter(tags=["health"])


@router.get("/metrics", summary="Figures of this process", include_in_schema=False)
async def metrics() -> Response:
    """Counters and durations since the process started; needs no account and names nobody."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
