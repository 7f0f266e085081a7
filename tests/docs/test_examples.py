"""The examples in the README and the docs: each Python block parses, and the blocks marked ``<!-- run -->`` run.

The marked blocks of a page run in order, in one namespace, in a temporary directory and a process of their own.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MARK = "<!-- run -->"
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<info>[^`]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: where its code starts (1-based line), its language, and whether it is marked."""

    line: int
    language: str
    code: str
    marked: bool


def read_blocks(text: str) -> list[Block]:
    """Find the fenced blocks of a page; a mark that stands above no block is an error."""
    blocks, lines, number, marked_at = [], text.splitlines(), 0, None
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening:
            closing = re.compile(rf" *{opening['ticks'][0]}{{{len(opening['ticks'])},}} *$")
            end = next((n for n in range(number + 1, len(lines)) if closing.match(lines[n])), len(lines))
            code = textwrap.dedent("\n".join(lines[number + 1 : end]))
            language = (opening["info"].split() or [""])[0].strip("{}.")
            blocks.append(Block(line=number + 2, language=language, code=code, marked=marked_at is not None))
            number, marked_at = end, None
        elif lines[number].strip() == MARK:
            marked_at = number + 1
        elif lines[number].strip() and marked_at is not None:
            break
        number += 1
    if marked_at is not None:
        message = f"line {marked_at}: {MARK} stands above no block"
        raise ValueError(message)
    return blocks


def as_script(blocks: list[Block]) -> str:
    """Join blocks at their lines on the page, so that a traceback names the page's line."""
    script: list[str] = []
    for block in blocks:
        script.extend([""] * (block.line - 1 - len(script)))
        script.extend(block.code.split("\n"))
    return "\n".join(script) + "\n"


@pytest.fixture(scope="module")
def ran() -> Iterator[Callable[[Path, Path], dict[str, Any]]]:
    """Run a script in a directory, every warning an error."""
    command = [sys.executable, "-W", "error", "-m", "tests.docs.page_runner"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runner:

        def run(script: Path, place: Path) -> dict[str, Any]:
            print(json.dumps([str(script), str(place)]), file=runner.stdin, flush=True)
            return json.loads(runner.stdout.readline())

        yield run
        runner.stdin.close()


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_parse_and_the_marked_ones_run(
    page: str, ran: Callable[[Path, Path], dict[str, Any]], tmp_path: Path
) -> None:
    blocks = [block for block in read_blocks((ROOT / page).read_text(encoding="utf-8")) if block.language == "python"]
    for block in blocks:
        ast.parse("\n" * (block.line - 1) + block.code, page)
    marked = [block for block in blocks if block.marked]
    if not marked:
        return
    script = tmp_path / (page.replace("/", "_") + ".py")
    script.write_text(as_script(marked), encoding="utf-8")
    place = tmp_path / "here"
    place.mkdir()
    ended = ran(script, place)
    assert ended["returncode"] == 0, f"{page}\n{ended['stdout']}\n{ended['stderr']}"


PAGE = """\
<!-- run -->
```python
x = 1
```

    <!-- run -->

    ```python
    assert x == 1
    ```

```python
never run
```

````markdown
```python
inside another block
```
````
"""


def test_marked_blocks_keep_their_lines_and_lose_their_indent() -> None:
    blocks = read_blocks(PAGE)
    assert [(block.line, block.language, block.marked) for block in blocks] == [
        (3, "python", True),
        (9, "python", True),
        (13, "python", False),
        (17, "markdown", False),
    ]
    assert as_script([block for block in blocks if block.marked]).splitlines()[8] == "assert x == 1"


def test_a_mark_above_no_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1"):
        read_blocks(f"{MARK}\ntext\n```python\n```\n")
