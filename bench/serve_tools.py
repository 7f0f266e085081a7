"""Programs of the system that serving is measured with: installed by apt where this may, else asked for."""

from __future__ import annotations

import os
import shutil
import subprocess

from rounds import say


def needs_wrk() -> None:
    """Have wrk, the load generator."""
    needs("wrk", "wrk")


def needs(program: str, package: str) -> None:
    """Have a program, from Debian's package of a name; ends the bench with what to do where it cannot be had."""
    if shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"{program} is not installed; as root: apt-get install {package}")
    say(f"installing {package}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["apt-get", "update"], ["apt-get", "install", "--yes", package]):
        if subprocess.run(words, env=quiet, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit(f"{' '.join(words)} failed; install {program} by other means")
