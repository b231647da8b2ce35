"""`guidealign library ...`, one module a command."""

from __future__ import annotations

import typer

from guidealign_engine.commands.library_diff import diff
from guidealign_engine.commands.library_expand import expand
from guidealign_engine.commands.library_generate import generate
from guidealign_engine.commands.library_lint import lint
from guidealign_engine.commands.library_merge import merge
from guidealign_engine.commands.library_stats import stats
from guidealign_engine.commands.library_variety import variety

library_app = typer.Typer(no_args_is_help=True, help="Make, mend and measure libraries of guidelines.")

library_app.command()(expand)
library_app.command()(generate)
library_app.command()(stats)
library_app.command()(variety)
library_app.command()(diff)
library_app.command()(merge)
library_app.command()(lint)
