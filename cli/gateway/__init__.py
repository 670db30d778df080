"""`kontor gateway`: a payment provider for development, a server of its own that speaks a part of Stripe's protocol.

Guarantees: what it has answered is on disk (SQLite, write-ahead log, synchronous FULL) and survives kill -9, webhooks
that are still to be sent included. No money moves. It imports nothing of Kontor's other packages, so that a mistake in
our adapter is not made twice.

`payments` decides, `books` keep, the `clerk` writes them, `faults` go wrong when told, `deliveries` send webhooks,
`serving` is the HTTP.
"""
