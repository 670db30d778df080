"""The editor of development: GraphiQL with tabs that are ready to be sent.

The page is Strawberry's, with another script: it opens EXAMPLES, and remembers, until it is closed, the access token
that `signIn` answers with. GraphiQL's own scripts come from the web, with digests; where they are not reached the page
is a plain editor of its own, with the same examples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from strawberry.http.ides import get_graphql_ide_html


@dataclass(frozen=True, slots=True)
class Example:
    """A document that can be sent as it is, on an installation with the demo's data."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)


# The first tab is opened without its variables, so that example has none.
EXAMPLES: Final = (
    Example(
        """# Nobody has to sign in for this. Ctrl-Enter sends it.
query BrowseProducts {
  products(search: "tea", orderBy: PRICE_ASC, first: 5) {
    nodes { sku name price { amount currency } stock { available } }
    facets { name values { value count } }
    totalCount
    pageInfo { hasNextPage endCursor }
  }
}
"""
    ),
    Example(
        """# The editor sends the token along from now on, until the page is closed. A customer places orders;
# staff@kontor.test with kontor-demo-staff sees everybody's, and the log.
mutation SignIn($input: SignInInput!) {
  signIn(input: $input) { ok userErrors { code message } tokens { accessToken expiresIn } user { name roles } }
}
""",
        {"input": {"email": "customer@kontor.test", "password": "kontor-demo-customer"}},
    ),
    Example(
        """# Sign in first. With an idempotency key, sending it twice places one order.
mutation PlaceOrder($input: PlaceOrderInput!, $key: ID) {
  placeOrder(input: $input, idempotencyKey: $key) {
    ok
    userErrors { code message field }
    receipt { token version replayed }
    order { id number status total { amount currency } }
  }
}
""",
        {"input": {"lines": [{"sku": "TEA-ASSAM", "quantity": 2}], "paymentMethod": "pm_card_visa"}, "key": "my-first"},
    ),
    Example(
        """# What became of one's newest order: PENDING, RESERVED, CONFIRMED. `token` is the receipt's, or nothing.
query FollowOrder($token: ConsistencyToken) {
  orders(first: 1, consistentWith: $token) {
    nodes { number status payment { status } lines { sku quantity } history { at type } }
  }
}
"""
    ),
    Example(
        """# The stock now, and how it began. `asOf` takes a moment instead of a version.
query Stock($sku: String!) {
  now: stockItem(sku: $sku) { onHand reserved available version }
  before: stockItem(sku: $sku, atVersion: 2) { onHand reserved available version }
}
""",
        {"sku": "TEA-ASSAM"},
    ),
    Example(
        """# Who did what. For STAFF, ANALYST, INTEGRATOR: sign in as one. `endCursor` as `since` gives the next page.
query Events($since: Cursor, $types: [String!], $actor: String) {
  events(since: $since, types: $types, actor: $actor, first: 20) {
    nodes { position recordedAt type actor aggregateId correlationId data }
    pageInfo { hasNextPage endCursor }
  }
}
""",
        {"types": ["order.placed", "order.confirmed", "order.rejected"]},
    ),
)

_SCRIPT_BEGINS: Final = "const EXAMPLE_QUERY"
_SCRIPT_ENDS: Final = "</script>"
_SCRIPT: Final = Path(__file__).with_suffix(".js").read_text()


def page() -> str:
    """The page as HTML."""
    html = get_graphql_ide_html(graphql_ide="graphiql")
    before, _, rest = html.partition(_SCRIPT_BEGINS)
    _, end, after = rest.partition(_SCRIPT_ENDS)
    assert end, "Strawberry's page has another shape now: see _SCRIPT_BEGINS"
    tabs = [{"query": each.query, "variables": _json(each.variables, indent=2)} for each in EXAMPLES]
    # In a script, "<" could end it.
    examples = _json(tabs).replace("<", "\\u003c")
    return f"{before}const EXAMPLES = {examples};\n{_SCRIPT}{end}{after}"


def _json(value: Any, *, indent: int = 0) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()
