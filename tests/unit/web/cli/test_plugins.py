"""Commands of packages that are not installed, as on a host that has the web extra only."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_WORKER = "import sys; sys.modules['worker'] = None; from web.cli.main import main; main(prog_name='x')"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_WORKER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_help_lists_a_command_whose_packages_are_absent() -> None:
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout
    assert "needs the extra 'worker'" in done.stdout


def test_running_such_a_command_says_what_to_install() -> None:
    done = run("generate", "folder", "--writers", "3")
    assert done.returncode == 1
    assert "countersign[worker]" in done.stderr
    assert "Traceback" not in done.stderr
