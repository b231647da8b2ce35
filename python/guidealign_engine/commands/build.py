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

build_app = typer.Typer(no_args_is_help=True)
for command in (teacher, student, export, index, calibrate, evaluate):
    build_app.command()(command)
build_app.command("all")(all_steps)


@build_app.callback()
def _group() -> None:
    """Make what a bundle is made of: train and export encoders, tune indexes, set thresholds, measure.

    `all` goes the whole way from guidelines and pairs to a verified bundle. All commands but index and calibrate need
    the offline extra.

    guidealign build all --guidelines library/ --pairs pairs/ --texts texts/ --out built
    """
