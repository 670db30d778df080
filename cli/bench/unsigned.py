"""Kontor's relay and worker without signatures on records, to see what these cost; of `kontor bench views` alone.

The argument is `relay` or `worker`. Everything else is as it is, so the difference is the price of signing.
"""

from __future__ import annotations

import sys

from adapters.record_signatures import Message, RecordSignatures
from adapters.wire import Linked, headers_of, parsed
from cli.processes import relay, worker


def _headers_of(_signatures: RecordSignatures, linked: Linked) -> list[tuple[str, bytes]]:
    return headers_of(linked.record, previous=linked.previous)


def _read(_signatures: RecordSignatures, message: Message) -> Linked:
    context = message.topic.rpartition(".")[2]  # the prefixes of benches end with a dot
    return parsed(context, message.partition, message.value, message.headers)


def main() -> None:
    """Work until SIGTERM."""
    setattr(RecordSignatures, "headers_of", _headers_of)  # noqa: B010
    setattr(RecordSignatures, "read", _read)  # noqa: B010
    {"relay": relay, "worker": worker}[sys.argv[1]]()


if __name__ == "__main__":
    main()
