"""The audit of banned things finds each of them, and is not misled by words."""

from __future__ import annotations

import subprocess

import pytest

from tools.banned import audit_code, audit_name, audit_text, main

BANNED_CODE = [
    "import pickle",
    "import dill.source",
    "from cloudpickle import dumps",
    "x = eval('1')",
    "builtins.exec('x')",
    "yaml.load(text)",
    "from yaml import load",
    "yaml.unsafe_load(text)",
    "os.system('ls')",
    "subprocess.run('ls', shell=True)",
    "np.load(path, allow_pickle=True)",
    "frame.to_pickle('x')",
    "connection.install_extension('httpfs')",
    "connection.execute('INSTALL httpfs')",
    "connection.sql('load x; install httpfs')",
    "STATEMENTS = 'LOAD x;\\nFORCE INSTALL sqlite'",
]

HARMLESS_CODE = [
    '"""No pickle, no eval(), never INSTALL httpfs."""',
    "# pickle eval yaml.load shell=True",
    "yaml.safe_load(text)",
    "subprocess.run(['ls'], shell=False)",
    "model.eval()",
    "connection.execute('LOAD x')",
    "hint = 'pip install timewell[pandas]'",
    "hint = 'Install the extra: it has what is missing.'",
    "from timewell.pickles import sort",
]


@pytest.mark.parametrize("code", BANNED_CODE)
def test_dangerous_code_is_found(code: str) -> None:
    assert len(audit_code(f"x = 1\n{code}\n", "src/timewell/x.py")) == 1


@pytest.mark.parametrize("code", HARMLESS_CODE)
def test_words_alone_are_no_finding(code: str) -> None:
    assert audit_code(code, "src/timewell/x.py") == []


@pytest.mark.parametrize(
    "where", ["/wor" + "k/main", "~/.librar" + "y/x", "/home/" + "ann/x", "https://" + "pypi.org/x"]
)
def test_a_file_that_only_works_on_one_machine_is_found(where: str) -> None:
    (finding,) = audit_text(f"first\nsee {where}\n", "docs/index.md")
    assert finding.line == 2


@pytest.mark.parametrize("where", ["src/wor" + "k/main.py", "homework/", "timewell.define.library", "/tmp/x"])
def test_ordinary_paths_are_no_finding(where: str) -> None:
    assert audit_text(where, "docs/index.md") == []


@pytest.mark.parametrize("path", ["docs/a.woff2", "src/timewell/ui/static/x.min.js", "docs/js/chart.js"])
def test_others_assets_are_found_by_name(path: str) -> None:
    assert len(audit_name(path)) == 1


@pytest.mark.parametrize("path", ["src/timewell/ui/static/page.js", "docs/index.md", "docs/chart.svg"])
def test_our_own_assets_are_welcome(path: str) -> None:
    assert audit_name(path) == []


def test_the_command_reads_the_files_of_the_repository(tmp_path, capsys) -> None:
    module = tmp_path / "src" / "timewell" / "x.py"
    module.parent.mkdir(parents=True)
    module.write_text("import pickle\n")
    (tmp_path / "logo.bin").write_bytes(b"\xff\xfe\x00")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "src/timewell/x.py:1: import of pickle\n"
    module.write_text("x = 1\n")
    assert main(["--root", str(tmp_path)]) == 0
