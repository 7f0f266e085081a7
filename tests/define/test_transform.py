"""A shared transform stays a plain function and carries who it is: name, version, digest of its source, inputs, type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

import timewell as tw
from timewell.define.load import run_file
from timewell.errors import DefinitionError, InvalidName

HEADER = "import timewell as tw\n"


@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    """Number the countries we sell to."""
    return {"US": 1, "CA": 2, "GB": 3, "DE": 4}.get(country, 0)


def written(folder: Path, text: str) -> Callable[..., Any]:
    """Return the function ``f`` of a file with this text."""
    path = folder / "some.py"
    path.write_text(HEADER + text)
    function: Callable[..., Any] = run_file(path, "some.py").f
    return function


def digest(folder: Path, text: str) -> str:
    return tw.transform_of(written(folder, text)).source_hash


def test_the_function_is_still_the_plain_function() -> None:
    assert country_to_id("CA") == 2
    assert [country_to_id(country) for country in ("US", "FR")] == [1, 0]
    assert type(country_to_id).__name__ == "function"
    assert country_to_id.__doc__ == "Number the countries we sell to."


def test_it_carries_name_version_inputs_and_type() -> None:
    made = tw.transform_of(country_to_id)
    assert (made.name, made.version, made.parameters, made.returns) == (
        "country_to_id",
        "v1",
        {"country": "string"},
        "int64",
    )
    assert made.path.endswith("test_transform:country_to_id")
    assert "Number the countries" in made.text


def test_types_come_from_annotations_and_any_of_them_may_be_null() -> None:
    @tw.transform(version="v1")
    def days(since: date | None, now: datetime, unit: int = 1) -> int | None:
        return None if since is None else (now.date() - since).days // unit

    made = tw.transform_of(days)
    assert made.parameters == {"since": "date", "now": "timestamp"}
    assert made.returns == "int64"


def test_inputs_name_types_and_parameters_with_defaults() -> None:
    @tw.transform(version="v2", name="ratio", inputs={"a": "decimal(10,2)", "b": float}, returns="float64")
    def made(a, b=1.0):  # type: ignore[no-untyped-def]  # the types are given
        return float(a) / b

    assert tw.transform_of(made).parameters == {"a": "decimal(10,2)", "b": "float64"}
    assert tw.transform_of(made).ref == "ratio@v2"


BODY = '@tw.transform(version="v1")\ndef f(x: int) -> int:\n    return x + 1\n'
SAME = {
    "comments and blank lines": '# c\n@tw.transform(version="v1")\ndef f(x: int) -> int:\n\n    # why\n    return (x  +\n 1)\n',
    "a docstring": '@tw.transform(version="v1")\ndef f(x: int) -> int:\n    "doc"\n    return x + 1\n',
    "another version": '@tw.transform(version="v2")\ndef f(x: int) -> int:\n    return x + 1\n',
    "another name": '@tw.transform(version="v1", name="f")\ndef g(x: int) -> int:\n    return x + 1\nf = g\n',
    "an annotation": '@tw.transform(version="v1")\ndef f(x: int, y: str = "a") -> int:\n    return x + 1\n'.replace(
        ', y: str = "a"', ""
    ),
    "code beside it": BODY + "\nOTHER = 4\ndef g(): return OTHER\n",
}


@pytest.mark.parametrize("kind", SAME)
def test_the_digest_does_not_see(tmp_path: Path, kind: str) -> None:
    assert digest(tmp_path, SAME[kind]) == digest(tmp_path, BODY)


OTHER = {
    "the body": (BODY, BODY.replace("+ 1", "+ 2")),
    "a number's type": (BODY, BODY.replace("+ 1", "+ 1.0")),
    "a default": (BODY.replace("x: int", "x: int, y: int = 1"), BODY.replace("x: int", "x: int, y: int = 2")),
    "a constant": (
        "ONE = 1\n" + BODY.replace("+ 1", "+ ONE"),
        "ONE = 2\n" + BODY.replace("+ 1", "+ ONE"),
    ),
    "a constant below it": (
        BODY.replace("+ 1", "+ T['a'][0]") + "T = {'a': [1]}\n",
        BODY.replace("+ 1", "+ T['a'][0]") + "T = {'a': [2]}\n",
    ),
    "a function it calls": (
        "def g(x): return x\n" + BODY.replace("x + 1", "g(x)"),
        "def g(x): return -x\n" + BODY.replace("x + 1", "g(x)"),
    ),
    "a constant of a function it calls": (
        "N = 1\ndef g(x): return x + N\n" + BODY.replace("x + 1", "g(x)"),
        "N = 2\ndef g(x): return x + N\n" + BODY.replace("x + 1", "g(x)"),
    ),
    "a class it uses": (
        "class G:\n    n = 1\n" + BODY.replace("x + 1", "x + G.n"),
        "class G:\n    n = 2\n" + BODY.replace("x + 1", "x + G.n"),
    ),
    "another transform it calls": (
        '@tw.transform(version="v1")\ndef g(x: int) -> int: return x\n' + BODY.replace("x + 1", "g(x)"),
        '@tw.transform(version="v1")\ndef g(x: int) -> int: return -x\n' + BODY.replace("x + 1", "g(x)"),
    ),
}


@pytest.mark.parametrize("kind", OTHER)
def test_the_digest_sees(tmp_path: Path, kind: str) -> None:
    one, other = OTHER[kind]
    assert digest(tmp_path, one) != digest(tmp_path, other)


def test_dependencies_are_named(tmp_path: Path) -> None:
    text = "import math\nN = 1\ndef g(x): return x + N\n" + BODY.replace("x + 1", "g(int(math.floor(x)))")
    assert tw.transform_of(written(tmp_path, text)).dependencies == ("some.N", "some.g")


def test_a_value_without_a_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"uses some\.M, a object"):
        written(tmp_path, "M = object()\n" + BODY.replace("+ 1", "+ id(M)"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('@tw.transform(version="v1")\ndef f(x) -> int: return 1\n', "parameter 'x' of transform 'f' has no type"),
        ('@tw.transform(version="v1")\ndef f(x: int): return 1\n', "the value of transform 'f' has no type"),
        ('@tw.transform(version="v1")\ndef f(x: dict) -> int: return 1\n', "has a type that is not taken"),
        ('@tw.transform(version="v1")\ndef f(*x: int) -> int: return 1\n', "has no name that an input can have"),
        ('@tw.transform(version="v1")\nasync def f(x: int) -> int: return 1\n', "must return its value"),
        ('f = tw.transform(version="v1", returns="int64")(lambda x: x)\n', "a lambda has no name"),
        ('@tw.transform(version="v1", inputs=["y"])\ndef f(x: int) -> int: return 1\n', "has no parameter 'y'"),
    ],
)
def test_a_function_that_cannot_be_one_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        written(tmp_path, text)


def test_names_and_versions_are_those_of_everything_else(tmp_path: Path) -> None:
    with pytest.raises(InvalidName):
        written(tmp_path, BODY.replace('"v1"', '"V 1"'))


def test_importing_it_loads_no_pydantic_and_no_engine() -> None:
    code = (
        "import sys\nimport timewell as tw\n@tw.transform(version='v1', returns='int64')\ndef f(x: int) -> int: return x\n"
        "assert f(2) == 2\nheavy = ('pydantic', 'pyarrow', 'duckdb', 'numpy', 'sqlalchemy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


def test_a_declared_look_up_is_a_plain_function_found_in_its_module() -> None:
    found = tw.lookup({"US": 1, "CA": 2}, name="by_code", version="v1", input="country", default=0)
    assert (found("CA"), found("US"), found(None)) == (2, 1, 0)
    made = tw.transform_of(found)
    assert (made.parameters, made.returns, made.place) == ({"country": "string"}, "int64", __name__)
    same = tw.lookup({"CA": 2, "US": 1}, name="by_code", version="v1", input="country", default=0)
    other = tw.lookup({"US": 1, "CA": 3}, name="by_code", version="v1", input="country", default=0)
    assert tw.transform_of(same).source_hash == made.source_hash != tw.transform_of(other).source_hash


def test_a_look_up_has_keys_and_values_of_one_type() -> None:
    with pytest.raises(DefinitionError, match="the keys of lookup 'odd' are not of one type"):
        tw.lookup({"US": 1, 2: 2}, name="odd", version="v1", input="x")
    with pytest.raises(DefinitionError, match="the values of lookup 'odd' are not of one type"):
        tw.lookup({"US": 1, "CA": "two"}, name="odd", version="v1", input="x")


def test_a_file_that_was_just_written_is_read_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two texts of one size within a second: code kept beside the file would pass for the second's."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    found = {
        written(tmp_path, f'@tw.transform(version="v1")\ndef f(x: int) -> int:\n    return x + {n}\n')(0)
        for n in (1, 2)
    }
    assert found == {1, 2}
    assert not (tmp_path / "__pycache__").exists()
