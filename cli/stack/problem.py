"""The one error of the launcher: a sentence for the person at the terminal."""

from __future__ import annotations


class Problem(Exception):
    """Something the launcher cannot heal; the message is one sentence that says what to do. Never holds a secret."""
