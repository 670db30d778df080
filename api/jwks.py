"""`GET /.well-known/jwks.json`: the public keys that verify access tokens, for services that take them too."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from adapters.wiring import Kontor

PATH: Final = "/.well-known/jwks.json"
# A key has to be listed for so long before it signs: whoever has just looked does not look again sooner.
CACHE_S: Final = 300

router = APIRouter(tags=["security"])


@router.get(PATH, summary="The keys that verify access tokens")
async def jwks(request: Request) -> JSONResponse:
    """A JSON Web Key Set (RFC 7517, RFC 8037): the key that signs first, then those that still or already verify."""
    kontor: Kontor = request.app.state.kontor
    body = {"keys": kontor.access_tokens.public_keys()}
    return JSONResponse(
        body, headers={"Cache-Control": f"public, max-age={CACHE_S}"}, media_type="application/jwk-set+json"
    )
