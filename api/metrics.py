"""`GET /metrics`: what operators watch, in the Prometheus text format; see `adapters.metrics`.

In production on the internal port alone."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from adapters.metrics import REGISTRY
from api.effect_gauges import EffectGauges
from api.internal_port import internal_only
from api.record_gauges import RecordGauges
from api.view_gauges import ViewGauges

router = APIRouter(tags=["health"], dependencies=[Depends(internal_only)])


@router.get("/metrics", summary="Figures of this process", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Counters and durations since the process started, the views and the effects; needs no account and names nobody.
    Without the database there are neither in it."""
    gauges: ViewGauges = request.app.state.view_gauges
    effects: EffectGauges = request.app.state.effect_gauges
    await gauges.refresh()
    await effects.refresh()
    records: RecordGauges = request.app.state.record_gauges
    await records.refresh()
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
