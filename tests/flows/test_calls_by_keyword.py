"""Flows are called by keyword, and a function of many parameters takes but the first few by place."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from patina.flows.cli.commands import COMMANDS
from patina.flows.deployments import OFFERS

FLOWS = Path(__file__).parents[2] / "flows"
FILES = sorted(FLOWS.rglob("*.py"))
NAMES = {inspect.unwrap(offer.flow.fn).__name__ for offer in OFFERS} | {
    "Options",
    "LaunchOptions",
    "RestoreOptions",
    "Run",
    "Watching",
}
MANY, BY_PLACE = 5, 3


def by_place(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Calls of these names that hand something over by its place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in names:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def long_by_place(tree: ast.AST) -> Iterator[str]:
    """Functions of many parameters of which too many may be handed over by place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            placed = len(node.args.posonlyargs) + len(node.args.args)
            if placed + len(node.args.kwonlyargs) > MANY and placed > BY_PLACE:
                yield f"line {node.lineno}: {node.name}"


def test_the_finders_find() -> None:
    code = "train_stages(a, b)\nx.train_stages(*many)\ntrain_stages(dataset=a)\nother(a)"
    assert [found[:6] for found in by_place(ast.parse(code), {"train_stages"})] == ["line 1", "line 2"]
    code = "def f(a, b, c, d, e, g): ...\ndef h(a, b, c, *, d, e, g): ...\ndef i(a, b, c, d, e): ..."
    assert list(long_by_place(ast.parse(code))) == ["line 1: f"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FLOWS)))
def test_nothing_is_handed_over_by_a_far_place(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert list(by_place(tree, NAMES)) == []
    assert list(long_by_place(tree)) == []


def test_parameters_of_a_deployment_keep_their_order_and_defaults() -> None:
    """Prefect's form of a flow is made from its signature, where those by keyword alone stand as the others do."""
    for offer in OFFERS:
        signature = inspect.signature(offer.flow.fn).parameters
        schema = offer.flow.parameters.properties
        assert list(schema) == list(signature)
        for name, parameter in signature.items():
            default = parameter.default
            if default is not inspect.Parameter.empty:
                assert schema[name]["default"] == (list(default) if isinstance(default, tuple) else default)


def test_every_command_takes_its_options_by_keyword() -> None:
    for name, command in COMMANDS.items():
        parameters = inspect.signature(command).parameters.values()
        placed = [one for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        assert len(parameters) <= MANY or len(placed) <= BY_PLACE, name
