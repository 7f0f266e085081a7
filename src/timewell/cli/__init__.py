"""The command line: ``timewell VERB``.

Rule: nothing heavy is imported before a verb runs; ``timewell --help`` pays for typer and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv
        What stands after ``timewell``; the process's own arguments when omitted.

    Returns
    -------
    int
        0 ok, 1 a finding, 2 usage, 3 operational failure; 130 when interrupted, 141 when the reader of a pipe left.
    """
    from timewell.cli.app import run

    return run(sys.argv[1:] if argv is None else argv)
