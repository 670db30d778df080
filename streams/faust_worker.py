"""Faust's worker without its noise."""

from __future__ import annotations

import logging

import faust


class QuietWorker(faust.Worker):
    """Faust leaves the root logger at DEBUG, so that its consumer spells out every request and answer for no reader: a
    quarter of what a worker does."""

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """See `mode.Worker.on_setup_root_logger`."""
        super().on_setup_root_logger(logger, level)
        logger.setLevel(level)
