"""`kontor bench`: how fast the event store is here, beside others that do the same work on the same server."""
