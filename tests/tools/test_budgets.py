"""The size budgets find what passes them and leave the stated exemptions alone."""

from __future__ import annotations

import pytest

from tools.budgets import audit_source, main, size_table


def texts(source: str, path: str = "src/timewell/build/asof.py", **options: bool) -> list[str]:
    return [finding.text for finding in audit_source(source, path, **options)]


def function(name: str, parameters: int, lines: int = 1, indent: str = "") -> str:
    given = ", ".join(f"p{number}" for number in range(parameters))
    return f"{indent}def {name}({given}):\n" + f"{indent}    x = 1\n" * lines


def store(method: str) -> str:
    return f"class FeatureStore:\n    {method}\n"


def test_a_file_of_500_lines_is_within_its_budget_and_one_more_is_not() -> None:
    assert texts("x = 1\n" * 500) == []
    assert texts("x = 1\n" * 501) == ["file of 501 lines (budget 500)"]


def test_a_function_of_50_lines_is_within_its_budget_and_one_more_is_not() -> None:
    assert texts(function("f", 0, lines=49)) == []
    assert texts(function("f", 0, lines=50)) == ["function f of 51 lines without its docstring (budget 50)"]


def test_a_long_docstring_does_not_count_as_code() -> None:
    assert texts('def f():\n    """One.\n' + "    more\n" * 60 + '    """\n    return 1\n') == []


def test_seven_parameters_are_one_too_many_wherever_they_stand() -> None:
    assert texts(function("f", 6)) == []
    assert len(texts(function("f", 7))) == 1
    assert len(texts("def f(a, b, /, c, *d, e, f, **g): ...\n")) == 1
    assert len(texts("class C:\n    def f(self, a, b, c, d, *, e, f, g): ...\n")) == 1
    assert texts("class C:\n    def f(self, a, b, c, *, d, e, f): ...\n") == []
    assert len(texts("def outer():\n" + function("inner", 7, indent="    "))) == 1


@pytest.mark.parametrize(
    "path", ["src/timewell/active.py", "src/timewell/cli/build.py", "src/timewell/define/aggregation.py"]
)
def test_signatures_that_users_type_may_be_long(path: str) -> None:
    assert texts(function("f", 9), path) == []
    assert len(texts(function("_f", 9), path)) == 1


def test_a_verb_of_the_store_may_take_many_parameters_and_another_class_may_not() -> None:
    verb = "def f(self, a, b, c, d, e, f, g): return 1"
    assert texts(store(verb)) == []
    assert len(texts(store(verb).replace("FeatureStore", "Reader"))) == 1


def test_a_class_may_have_20_public_methods_and_the_store_40() -> None:
    def with_methods(name: str, count: int) -> str:
        return f"class {name}:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(count))

    assert texts(with_methods("C", 20) + "    def _private(self): ...\n") == []
    assert texts(with_methods("C", 21)) == ["class C has 21 public methods (budget 20)"]
    assert texts(with_methods("FeatureStore", 40)) == []
    assert texts(with_methods("FeatureStore", 41)) == ["class FeatureStore has 41 public methods (budget 40)"]


def test_a_verb_of_the_store_only_delegates() -> None:
    six = "def f(self):\n" + '        """Docstring."""\n' + "        x = 1\n" * 6
    assert texts(store(six)) == ["FeatureStore.f has 6 statements (budget 5): it only delegates"]
    spread = "def f(self):\n        return g(\n" + "            1,\n" * 12 + "        )\n"
    assert texts(store(spread)) == []


def test_tests_are_held_to_the_file_budget_alone() -> None:
    assert texts(function("f", 9, lines=60), "tests/x.py", strict=False) == []
    assert len(texts("x = 1\n" * 501, "tests/x.py", strict=False)) == 1


def test_the_command_fails_only_when_something_passes_a_budget(tmp_path, capsys) -> None:
    module = tmp_path / "src" / "timewell" / "plan" / "diff.py"
    module.parent.mkdir(parents=True)
    module.write_text("x = 1\n")
    assert main(["--root", str(tmp_path)]) == 0
    module.write_text("x = 1\n" * 501)
    assert main(["--root", str(tmp_path)]) == 1
    assert "src/timewell/plan/diff.py:1: file of 501 lines" in capsys.readouterr().out


def test_the_table_has_one_row_per_part_and_a_total(tmp_path) -> None:
    package = tmp_path / "src" / "timewell"
    (package / "plan").mkdir(parents=True)
    (package / "plan" / "__init__.py").touch()
    (package / "plan" / "diff.py").write_text("x = 1\n" * 30)
    (package / "errors.py").write_text("x = 1\n" * 10)
    rows = {row.split()[0]: row.split()[1:] for row in size_table(tmp_path).splitlines()}
    assert rows["plan/"] == ["2", "30", "30", "plan/diff.py", "(30)"]
    assert rows["all"] == ["3", "40", "20", "plan/diff.py", "(30)"]
