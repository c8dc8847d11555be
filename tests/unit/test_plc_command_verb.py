"""`linesight plc command` refuses what the plant file does not name before anything is sent."""

from __future__ import annotations

from typer.testing import CliRunner

from cli.main import app
from schemas.errors import ConfigurationError


def test_a_parameter_that_the_interlocks_do_not_name_is_answered_with_those_they_do() -> None:
    asked = ["plc", "command", "parameter", "--parameter", "lmp", "--value", "60"]
    problem = CliRunner().invoke(app, asked).exception
    assert isinstance(problem, ConfigurationError)
    assert "--parameter lmp: expected one of none: there are no parameters (under `interlocks` of aoi-1" in str(problem)


def test_a_verdict_is_no_kind_that_a_person_commands() -> None:
    told = CliRunner().invoke(app, ["plc", "command", "verdict"])
    assert told.exit_code == 2
    assert all(kind in told.output for kind in ("reject", "stop_line", "speed", "parameter"))
    assert "verdict|" not in CliRunner().invoke(app, ["plc", "command", "--help"]).output
