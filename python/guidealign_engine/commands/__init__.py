"""The commands of `guidealign`, one module each. Needs the `cli` extra."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from guidealign_engine.commands.assemble import assemble
from guidealign_engine.commands.build import build_app
from guidealign_engine.commands.bundle import bundle_app
from guidealign_engine.commands.doctor import doctor
from guidealign_engine.commands.library import library_app
from guidealign_engine.commands.retrieve import retrieve
from guidealign_engine.errors import GuidealignError


class _Commands(TyperGroup):
    """Errors that a user can mend become one line, on every way into the program."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except GuidealignError as error:
            message = str(error)
        except OSError as error:
            message = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        typer.echo(f"error: {' '.join(message.split())}", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(retrieve)
app.command()(assemble)
app.command()(doctor)
app.add_typer(bundle_app, name="bundle")
app.add_typer(build_app, name="build")
app.add_typer(library_app, name="library")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"guidealign-engine {version('guidealign-engine')}")
        raise typer.Exit


@app.callback()
def _about(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Find the few guidelines that matter for a request, and put them into the prompt.

    guidealign retrieve "How do I pick a lock?"
    """
