"""The editor of development: GraphiQL with tabs that are ready to be sent.

The page is Strawberry's, with another script: it opens EXAMPLES, and remembers, until it is closed, the access token
that `signIn` answers with. GraphiQL's own scripts come from the web, with digests; without them the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
_LOADING: Final = ">Loading...<"
_LOADING_FROM_THE_WEB: Final = (
    ">The editor&#39;s scripts come from the web (unpkg.com). If it does not appear, this browser cannot reach them: "
    "send requests to this address by other means.<"
)
# A token that is refused is forgotten, or nobody could sign in again.
_SCRIPT: Final = """
      let token = null;
      const wanted = Object.fromEntries(new URLSearchParams(window.location.search));
      async function send(url, options) {
        const headers = new Headers(options.headers);
        if (token && !headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
        const answer = await fetch(url, { ...options, headers });
        const told = await answer.clone().json().catch(() => ({}));
        token = told.data?.signIn?.tokens?.accessToken ?? token;
        if (told.errors?.some((error) => error.extensions?.code === "UNAUTHENTICATED")) token = null;
        return answer;
      }
      const root = ReactDOM.createRoot(document.getElementById("graphiql"));
      root.render(React.createElement(GraphiQL, {
        fetcher: GraphiQL.createFetcher({ url: window.location.href.split("?")[0], fetch: send }),
        plugins: [GraphiQLPluginExplorer.explorerPlugin()],
        defaultEditorToolsVisibility: "variables",
        defaultTabs: wanted.q ? [{ query: wanted.q }] : EXAMPLES,
        variables: wanted.variables,
        inputValueDeprecation: true,
      }));
    """


def page() -> str:
    """The page as HTML."""
    html = get_graphql_ide_html(graphql_ide="graphiql")
    before, _, rest = html.partition(_SCRIPT_BEGINS)
    _, end, after = rest.partition(_SCRIPT_ENDS)
    assert end, "Strawberry's page has another shape now: see _SCRIPT_BEGINS"
    tabs = [{"query": each.query, "variables": _json(each.variables, indent=2)} for each in EXAMPLES]
    # In a script, "<" could end it.
    examples = _json(tabs).replace("<", "\\u003c")
    script = f"const EXAMPLES = {examples};{_SCRIPT}"
    return f"{before}{script}{end}{after}".replace(_LOADING, _LOADING_FROM_THE_WEB)


def _json(value: Any, *, indent: int = 0) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()
