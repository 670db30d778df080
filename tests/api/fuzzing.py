"""What schemathesis is told of this API (`SCHEMATHESIS_HOOKS`): values of its scalars, and what no answer may be."""

from __future__ import annotations

from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

# Sane values lead further than any text does; both are needed.
SCALARS: Final = {
    "ConsistencyToken": ["", "AAAA"],
    "CurrencyCode": ["GBP", "JPY", "XXX"],
    "Cursor": ["", "0", "AAAA"],
    "DateTime": ["2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
    "Decimal": ["1.00", "0", "-1", "99999999999999999999", "0.0000001", "1e5", "NaN"],
    "JSON": ["{}"],
}
for _name, _sane in SCALARS.items():
    schemathesis.graphql.scalar(_name, (st.sampled_from(_sane) | st.text(max_size=50)).map(nodes.String))


@schemathesis.check
def no_internal_error(_context: Any, response: Any, case: Any) -> None:
    """What a client sends is done or refused; anything else is a mistake of ours."""
    told = response.text
    assert response.status_code < 500, f"{response.status_code}: {told[:500]}"
    assert '"INTERNAL"' not in told, f"{case.body!r:.500}: {told[:500]}"
