"""What has an id of its own and can be asked for by it."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Something with an id.")
class Node:
    id: strawberry.ID = strawberry.field(description="A UUID, for ever the same.")
