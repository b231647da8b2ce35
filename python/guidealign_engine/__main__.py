"""The command line `guidealign`, also `python -m guidealign_engine`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs a command and ends the process: 0 when it did its work, 1 for an error, 2 for a wrong call."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError:
        print(
            'error: the command line needs typer and rich: pip install "guidealign-engine[cli]"',
            file=sys.stderr,
        )
        sys.exit(1)
    from guidealign_engine.commands import app

    # What a terminal cannot show is no reason to stop.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    app(prog_name="guidealign")


if __name__ == "__main__":
    main()
