"""`guidealign build`."""

from __future__ import annotations

import typer

from guidealign_engine.commands.build_all import all_steps
from guidealign_engine.commands.build_calibrate import calibrate
from guidealign_engine.commands.build_evaluate import evaluate
from guidealign_engine.commands.build_export import export
from guidealign_engine.commands.build_index import index
from guidealign_engine.commands.build_student import student
from guidealign_engine.commands.build_teacher import teacher

build_app = typer.Typer(no_args_is_help=True, help="Train encoders; needs the offline extra.")
for command in (teacher, student, export, index, calibrate, evaluate):
    build_app.command()(command)
build_app.command("all")(all_steps)


@build_app.callback()
def _group() -> None:
    """Train encoders; needs the offline extra."""
