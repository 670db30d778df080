"""The contestants of `kontor bench graphql`: `python -m cli.bench.graphql_servers NAME`, one HTTP server each.

All but `bare` and Node serve the same schema from the same views, over the same loaders, with the same HTTP server.
The first line they print is their port.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from base64 import b64decode
from typing import Any, Final

import msgspec
import strawberry
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from strawberry.fastapi import GraphQLRouter
from strawberry.schema.config import StrawberryConfig

from adapters.settings import Settings
from adapters.wiring import open_kontor
from api.app import GRAPHQL_PATH, create_app
from api.graphql.context import request_context
from api.graphql.scalars import SCALARS
from api.graphql.schema import AtTheGate, Mutation, Query, schema
from api.graphql.serving import KontorRouter
from api.graphql.sockets import SocketLimits, SocketRouter

BARE, PLAIN, ORDINARY, COMPILED, CACHED = "bare", "strawberry", "ordinary", "compiled", "cached"
NAMES: Final = (BARE, PLAIN, ORDINARY, COMPILED, CACHED)
HOST: Final = "127.0.0.1"


class OrdinaryRouter(KontorRouter):
    """Ours without the compiled path."""

    execute_single = SocketRouter.execute_single


class Bare:
    """The limit: what the HTTP server can do with answers that are there already, by the body of the question."""

    def __init__(self, told: bytes) -> None:
        """`told`: JSON of pairs, question and answer, as base64."""
        pairs = msgspec.json.decode(told, type=list[tuple[str, str]])
        self._answers = {b64decode(asked): b64decode(answer) for asked, answer in pairs}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing is parsed but HTTP."""
        if scope["type"] != "http":
            return
        answer = self._answers[(await receive())["body"]]
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def app_of(name: str, settings: Settings) -> Any:
    """The application of this contestant, who asks the stack."""
    if name != CACHED:
        settings = settings.model_copy(update={"response_cache_bytes": 0})
    app = create_app(lambda: open_kontor(settings, name="bench"), environment="production")
    if name in (COMPILED, CACHED):
        return app
    router: GraphQLRouter[Any, None]
    if name == ORDINARY:
        router = OrdinaryRouter(
            schema, limits=SocketLimits(), path=GRAPHQL_PATH, graphql_ide=None, context_getter=request_context
        )
    else:
        config = StrawberryConfig(scalar_map=SCALARS)
        plain = strawberry.Schema(query=Query, mutation=Mutation, config=config, extensions=[AtTheGate])
        router = GraphQLRouter(plain, path=GRAPHQL_PATH, graphql_ide=None, context_getter=request_context)
    other = FastAPI(lifespan=app.router.lifespan_context, docs_url=None, redoc_url=None, openapi_url=None)
    other.state.development = app.state.development
    other.include_router(router)
    return other


class Server(uvicorn.Server):
    """Tells its port once it serves."""

    async def startup(self, sockets: Any = None) -> None:
        """The port is the system's choice."""
        await super().startup(sockets)
        # As the processes of `kontor up` do: what is there stays, and is not looked through again and again.
        gc.collect()
        gc.freeze()
        if self.started:
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def main(name: str) -> None:
    """Serve until stdin ends: who started this has gone then. Its first line is what this contestant is told."""
    told = sys.stdin.buffer.readline()
    app = Bare(told) if name == BARE else app_of(name, Settings.from_environment())
    config = uvicorn.Config(app, host=HOST, port=0, loop="uvloop", http="httptools", log_level="warning", lifespan="on")
    server = Server(config)

    async def serve() -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        serving = asyncio.create_task(server.serve())
        await asyncio.wait([serving, asyncio.create_task(reader.read())], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main(sys.argv[1])
