"""A transform's column is what calling its function row by row gives, cell for cell, whichever way it is computed."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import timewell as tw
from timewell.backends.duckdb import open as open_duckdb
from timewell.catalog.evaluate import as_python, by_function, evaluate, evaluate_row
from timewell.define.expression import Expression
from timewell.define.forms import Lookup, form_of
from timewell.define.load import run_file
from timewell.errors import TransformFailed, WrongColumnType
from timewell.stores.arrow import to_arrow_type
from timewell.stores.offline import EngineSession
from timewell.stores.query import SourceCatalog

COUNTRIES = {"US": 1, "CA": 2, "GB": 3, "DE": 4, "日本": 5, "": 6}
CAP, SHARE = 1_000, 0.25


@tw.transform(version="v1", returns="int64")
def seeds_look_up(country: str) -> int:
    lut = {"US": 1, "CA": 2, "GB": 3, "DE": 4}
    return lut.get(country, 0)


@tw.transform(version="v1", returns="int64")
def module_look_up(country: str) -> int | None:
    return COUNTRIES.get(country)


@tw.transform(version="v1", returns="string")
def numbers_look_up(x: int) -> str:
    return {0: "zero", -1: "minus one", 4611686018427387904: "große Zahl"}.get(x, "other ✓")


@tw.transform(version="v1", returns="float64")
def look_up_with_null(country: str | None) -> float | None:
    return {"US": 1e300, "CA": -0.0, "GB": None}.get(country, -1.5)


declared = tw.lookup({date(2026, 1, 1): True}, name="declared", version="v1", input="day", default=False)


@tw.transform(version="v1")
def capped(x: int) -> int | None:
    if x is None:
        return None
    if x > CAP:
        return CAP
    return x * 3 - 7


@tw.transform(version="v1")
def rounds_down(x: int, y: int) -> int:
    z = x // 7 + y % 5
    return z if x < y else -z


@tw.transform(version="v1")
def grows(x: int, y: int) -> int:
    return x * y // 1_000_000_007


@tw.transform(version="v1")
def ratio(a: float, b: float) -> float | None:
    if a is None or b is None:
        return None
    if b == 0:
        return None
    return a / b


@tw.transform(version="v1")
def floats(a: float, b: float) -> float:
    if a is None or b is None:
        return -1.5
    return a * SHARE + b if a < b else -(b - a)


@tw.transform(version="v1")
def compares(a: float, b: float, s: str, flag: bool) -> bool:
    if a is None or b is None or s is None or flag is None:
        return False
    return (a != b and s in ("US", "été", "日本")) or (flag and not (a >= b)) or s < "é"


@tw.transform(version="v1")
def texts(s: str, n: int) -> str:
    return "small" if n is not None and 0 <= n < 10 else ("none" if s is None else s.upper() + "✓")


@tw.transform(version="v1", inputs={"d": "decimal(12,2)", "n": "int64"}, returns="decimal(14,2)")
def decimals(d: Decimal | None, n: int | None) -> Decimal | None:
    return None if d is None or n is None else d + n % 3


@tw.transform(version="v1")
def days(since: date, now: datetime) -> int | None:
    return None if since is None or now is None else (now.date() - since).days


@tw.transform(version="v1")
def moved(at: datetime, n: int) -> datetime | None:
    return None if at is None or n is None else at + timedelta(microseconds=n % 1_000_000)


@tw.transform(version="v1", inputs={"each": "list<int64>"}, returns="list<string>")
def lists(each: list[int] | None) -> list[str | None] | None:
    return None if each is None else [None if n is None else str(n) for n in each]


JOINS = [seeds_look_up, module_look_up, numbers_look_up, look_up_with_null, declared]
EXPRESSIONS = [capped, rounds_down, ratio, floats, compares]
FUNCTIONS = [texts, decimals, days, moved, lists]
FORMS = {
    **dict.fromkeys(JOINS, Lookup),
    **dict.fromkeys(EXPRESSIONS, Expression),
    **dict.fromkeys(FUNCTIONS, type(None)),
}
TEXTS = ["US", "CA", "GB", "DE", "日本", "", "us", "été", "e\u0301te", "é", "z", "\0", "🏳️‍🌈", "\uffff", "ß", "a" * 300]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSession]:
    with open_duckdb().session(SourceCatalog(root=tmp_path_factory.mktemp("empty"))) as opened:
        yield opened


def _number(dice: random.Random) -> int:
    return (
        dice.choice([0, 1, -1, 7, -7, CAP, CAP + 1, 2**31, -(2**31), 2**62, -(2**63), 2**63 - 1])
        if (dice.random() < 0.3)
        else dice.randint(-20, 20)
        if dice.random() < 0.5
        else dice.getrandbits(63) - 2**62
    )


def _float(dice: random.Random) -> float:
    odd = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1, -1.0, 2.0**53]
    if dice.random() < 0.4:
        return dice.choice(odd)
    return (
        dice.uniform(-10, 10)
        if dice.random() < 0.5
        else float(*struct.unpack("<d", dice.getrandbits(64).to_bytes(8, "little")))
    )


DRAW: dict[str, Callable[[random.Random], Any]] = {
    "int64": _number,
    "float64": _float,
    "bool": lambda dice: dice.random() < 0.5,
    "string": lambda dice: dice.choice(TEXTS),
    "date": lambda dice: date(2026, 1, 1) + timedelta(days=dice.randint(-2, 2)),
    "timestamp": lambda dice: (
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=dice.randint(-(10**15), 10**15))
    ),
    "decimal(12,2)": lambda dice: Decimal(dice.randint(-(10**11), 10**11)).scaleb(-2),
    "list<int64>": lambda dice: [dice.choice([None, 1, -2]) for _ in range(dice.randint(0, 3))],
}


def drawn(dtype: str, rows: int, dice: random.Random, nulls: float) -> pa.Array:
    cells = [None if dice.random() < nulls else DRAW[dtype](dice) for _ in range(rows)]
    return pa.array(cells, to_arrow_type(dtype), from_pandas=False)


def told(value: object) -> object:
    """Make a cell comparable to the bit: a NaN equals itself, and the two zeros differ."""
    return struct.pack("<d", value) if isinstance(value, float) and not math.isnan(value) else repr(value)


def row_by_row(function: Callable[..., Any], columns: dict[str, pa.Array]) -> list[object]:
    made = tw.transform_of(function)
    cells = zip(*(as_python(columns[name]) for name in made.parameters), strict=True)
    return [evaluate_row(made, dict(zip(made.parameters, row, strict=True))) for row in cells]


@pytest.mark.parametrize("function", FORMS, ids=lambda function: function.__name__)
def test_the_form_of_each_is_known(function: Callable[..., Any]) -> None:
    assert isinstance(form_of(tw.transform_of(function)), FORMS[function])


@pytest.mark.parametrize(
    ("function", "nulls"),
    [(one, nulls) for one in FORMS for nulls in (0.0, 0.2) if nulls == 0 or one is not rounds_down],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_a_column_is_what_calling_row_by_row_gives(
    function: Callable[..., Any], nulls: float, session: EngineSession, scale: Callable[[int], int]
) -> None:
    made, dice = tw.transform_of(function), random.Random(f"{function.__name__} {nulls}")
    columns = {name: drawn(dtype, scale(10_000), dice, nulls) for name, dtype in made.parameters.items()}
    if function is capped:
        columns["x"] = pa.array(
            [None if x is None else x % 2**60 - 2**59 for x in columns["x"].to_pylist()], pa.int64()
        )
    wanted = list(map(told, row_by_row(function, columns)))
    for found in (
        evaluate(made, columns, session=session),
        evaluate(made, columns),
        by_function(made, [columns[name] for name in made.parameters]),
    ):
        assert found.type == to_arrow_type(made.returns)
        assert list(map(told, as_python(found))) == wanted


def test_the_engine_computes_what_is_an_expression_and_has_no_null(session: EngineSession) -> None:
    form = form_of(tw.transform_of(floats))
    assert isinstance(form, Expression)
    table = pa.table({"a": [1.0, -0.0, math.nan], "b": [2.0, 0.0, 1.0]})
    found = session.derive(form, table)
    assert found is not None
    assert list(map(told, found.to_pylist())) == list(map(told, [2.25, -0.0, math.nan]))


@pytest.mark.parametrize(
    ("function", "columns", "problem"),
    [
        (grows, {"x": [2**62, 1], "y": [2**62, 1]}, "which is no int64: it does not fit"),
        (capped, {"x": [-(2**62), 4]}, "does not fit"),
        (rounds_down, {"x": [1, None], "y": [1, 1]}, "raised TypeError: unsupported operand"),
    ],
)
def test_what_does_not_fit_or_cannot_be_fails_with_its_inputs(
    function: Callable[..., Any], columns: dict[str, list[object]], problem: str, session: EngineSession
) -> None:
    given = {name: pa.array(cells, pa.int64()) for name, cells in columns.items()}
    for engine in (session, None):
        with pytest.raises(TransformFailed, match=problem):
            evaluate(tw.transform_of(function), given, session=engine)


def test_whole_numbers_are_exact_on_the_way(session: EngineSession) -> None:
    given = {"x": pa.array([2**62, -(2**62)]), "y": pa.array([2**40, 3])}
    found = evaluate(tw.transform_of(grows), {"x": given["x"], "y": pa.array([2**20, 3])}, session=session)
    assert found.to_pylist() == [2**82 // 1_000_000_007, -(2**62) * 3 // 1_000_000_007]


SURPRISING = {
    "a division that is not reached": "return 0.0 if b == 0 else a / b",
    "a division before the question": "r = a / b\n    return 0.0 if b == 0 else r",
    "a division in a condition": "return 1.0 if a / b > 1.0 and b != 0 else 0.0",
    "a division after a condition": "return 1.0 if b != 0 and a / b > 1.0 else 0.0",
    "a null in a comparison": "return 1.0 if (None if a > b else a) == b else 0.0",
    "a NaN that is no member": "return 1.0 if a in (b, 0.0) else 2.0",
    "chained comparisons": "return 1.0 if a < b <= 2.0 != a else 2.0",
    "a name used for something else": "CAP = a\n    return CAP",
    "a default that hides a constant": "return a + CAP * 1.0",
    "falling off the end": "if a > b:\n        return a",
    "branches that do not return": "x = a\n    if a > b:\n        x = b\n    elif a == b:\n        x = -a\n    return x",
    "zeros": "return a + -0.0 if a == 0 else a - 0.0",
    "one": "return a * 1.0 * 1",
    "a power": "return a ** 2 if abs(a) < 10 else b",
}


@pytest.mark.parametrize("kind", SURPRISING)
def test_what_looks_like_sql_is_what_python_says(kind: str, session: EngineSession, tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "import timewell as tw\nCAP = 3.5\n@tw.transform(version='v1')\n"
        f"def f(a: float, b: float, CAP: float = 2.5) -> float | None:\n    {SURPRISING[kind]}\n"
    )
    made = tw.transform_of(run_file(path, "odd.py").f)
    odd = [0.0, -0.0, 1.0, -2.0, math.nan, math.inf]
    fine, wanted, failing = [], [], []
    for a, b in ((a, float(str(b))) for a in odd for b in odd):  # no value twice as one object
        try:
            wanted.append(told(evaluate_row(made, {"a": a, "b": b})))
            fine.append((a, b))
        except TransformFailed:
            failing.append((a, b))
    found = evaluate(made, floats_of(*fine), session=session)
    assert list(zip(fine, map(told, found.to_pylist()), strict=True)) == list(zip(fine, wanted, strict=True))
    for pair in failing[:2]:
        with pytest.raises(TransformFailed):
            evaluate(made, floats_of(pair), session=session)


def floats_of(*pairs: tuple[float, float]) -> dict[str, pa.Array]:
    sides = zip(*pairs, strict=True)
    return {name: pa.array(side, pa.float64(), from_pandas=False) for name, side in zip("ab", sides, strict=True)}


def test_inputs_widen_where_nothing_is_lost() -> None:
    made = tw.transform_of(floats)
    assert evaluate(made, {"a": pa.array([1], pa.int64()), "b": pa.array([2.0], pa.float32())}).to_pylist() == [2.25]
    with pytest.raises(WrongColumnType, match="found int64, needs float64"):
        evaluate(made, {"a": pa.array([2**53 + 1]), "b": pa.array([2.0])})
    with pytest.raises(WrongColumnType):
        evaluate(made, {"a": pa.array(["x"]), "b": pa.array([2.0])})
