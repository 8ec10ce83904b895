"""The terminal: data to stdout, everything else to stderr, one way to fail."""

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from shared.errors import InputError, InternalError, ProblemsError, RefusedError
from shared.runtime.console import CommandGroup, json_option, print_json, print_table, progress, remark


@click.group(cls=CommandGroup)
def tool() -> None:
    """A tool with one command for each way to end."""


@tool.command("say")
@click.option("--times", type=click.IntRange(1), required=True)
@json_option
def say(times: int, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over by name
    remark("a remark")
    if as_json:
        print_json({"said": ["word"] * times})
    else:
        click.echo("word " * times)


def _fail(error: Exception) -> None:
    raise error from ValueError("line 3 is odd")


FAULTS: dict[str, Exception] = {
    "input": InputError("table.csv: cannot be read: line 3 is odd", hint="mend line 3"),
    "other-words": InputError("table.csv: cannot be read"),
    "refused": RefusedError("the policy says no"),
    "internal": InternalError("two and two made five"),
    "unexpected": KeyError("nobody"),
    "closed-pipe": BrokenPipeError(32, "Broken pipe"),
    "several": ProblemsError("table.csv", [InputError("row 2", hint="mend it"), InputError("row 3")]),
}


@tool.command("fail")
@click.argument("how")
@json_option
def fail(how: str, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over by name
    del as_json
    _fail(FAULTS[how])


@tool.group("inner")
def inner() -> None:
    """A group within the tool."""


@inner.command("fail")
@click.argument("how")
@json_option
def inner_fail(how: str, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over by name
    del as_json
    _fail(FAULTS[how])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(tool, arguments)


def document(result: Result) -> Any:  # noqa: ANN401 - JSON
    return json.loads(result.stdout)


def test_data_go_to_stdout_and_remarks_to_stderr() -> None:
    result = run("say", "--times", "2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "word word \n", "a remark\n")
    assert document(run("say", "--times", "2", "--json")) == {"said": ["word", "word"]}


@pytest.mark.parametrize(
    ("how", "exit_code", "kind"),
    [
        ("input", 1, "InputError"),
        ("refused", 1, "RefusedError"),
        ("several", 1, "ProblemsError"),
        ("internal", 2, "internal"),
        ("unexpected", 2, "internal"),
    ],
)
@pytest.mark.parametrize("command", [["fail"], ["inner", "fail"]])
def test_a_failure_has_its_exit_code_and_with_json_is_one_document(
    how: str, exit_code: int, kind: str, command: list[str]
) -> None:
    plain, as_json = run(*command, how), run(*command, how, "--json")
    assert plain.exit_code == as_json.exit_code == exit_code
    assert plain.stdout == ""
    assert plain.stderr.startswith("error: ")
    assert "Traceback" not in plain.stderr
    assert document(as_json)["success"] is False
    assert document(as_json)["error"]["kind"] == kind
    assert document(as_json)["error"]["message"] in as_json.stderr


def test_a_failure_says_what_to_do() -> None:
    assert "hint: mend line 3" in run("fail", "input").stderr
    assert document(run("fail", "input", "--json"))["error"]["hint"] == "mend line 3"


def test_a_cause_is_told_once_whether_or_not_the_error_quotes_it() -> None:
    assert run("fail", "input").stderr.count("line 3 is odd") == 1
    assert "because: line 3 is odd" in run("fail", "other-words").stderr


def test_several_problems_are_listed_each_with_its_hint_and_once() -> None:
    stderr = run("fail", "several").stderr
    assert "table.csv: 2 problems" in stderr
    assert stderr.count("row 2 (mend it)") == 1
    assert stderr.count("row 3") == 1


def test_an_unexpected_fault_shows_its_traceback_only_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "CROSSLOT_DEBUG=1" in run("fail", "unexpected").stderr
    monkeypatch.setenv("CROSSLOT_DEBUG", "1")
    assert "Traceback" in run("fail", "unexpected").stderr


def test_a_pipe_that_its_reader_has_closed_is_no_fault_of_crosslot() -> None:
    assert "fault" not in run("fail", "closed-pipe").stderr


@pytest.mark.parametrize(
    "arguments", [["say"], ["say", "--times", "0"], ["say", "--bogus"], ["bogus"], ["inner", "fail"]]
)
def test_wrong_arguments_exit_with_two_and_with_json_are_one_document(arguments: list[str]) -> None:
    plain, as_json = run(*arguments), run(*arguments, "--json")
    assert plain.exit_code == as_json.exit_code == 2
    assert plain.stdout == ""
    assert document(as_json)["error"]["kind"] == "usage"
    assert document(as_json)["success"] is False


def test_a_table_in_a_pipe_is_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    wide = [f"value-{number}-" + "x" * 60 for number in range(12)]
    print_table("Wide", tuple(f"column {number}" for number in range(12)), [wide])
    lines = capsys.readouterr().out.splitlines()
    assert any(all(value in line for value in wide) for line in lines)


def test_progress_of_a_pipe_is_a_line_at_the_end_with_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("mapping", 3, unit="lots") as advance:
        advance()
        advance(2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("mapping: 3 of 3 lots, ")


def _group_of(module: str, attribute: str = "say") -> CommandGroup:
    @click.group(cls=CommandGroup)
    def late() -> None:
        """A tool whose commands are loaded when they are called."""

    assert isinstance(late, CommandGroup)
    late.defer("say", f"{module}:{attribute}", "Say a word, now and then. And again.")
    return late


def test_a_deferred_command_is_listed_by_its_summary_and_not_loaded() -> None:
    result = CliRunner().invoke(_group_of("no.such.module"), ["--help"])
    assert result.exit_code == 0
    assert "say  Say a word, now and then." in result.stdout


def test_a_deferred_command_is_loaded_when_it_is_called() -> None:
    assert run_of(_group_of(__name__), "say", "--times", "2").stdout == "word word \n"
    assert "Usage: late say" in run_of(_group_of(__name__), "say", "--help").stdout
    assert run_of(_group_of(__name__), "say").exit_code == 2


def test_a_deferred_command_that_does_not_load_is_a_fault_of_ours() -> None:
    result = run_of(_group_of("no.such.module"), "say", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["kind"] == "internal"


def test_an_unknown_command_of_a_group_with_deferred_ones_is_wrong_usage() -> None:
    result = run_of(_group_of("no.such.module"), "shout")
    assert result.exit_code == 2
    assert "No such command 'shout'" in result.stderr


def run_of(group: CommandGroup, *arguments: str) -> Result:
    return CliRunner().invoke(group, arguments)
