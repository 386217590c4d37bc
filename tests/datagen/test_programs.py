"""Programs that engines start end with the block, by an interrupt, and with the process that began it all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fake_programs import command, still_running, wait_for_programs
from vary.datagen.programs import running_program

TESTS = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize("error", [KeyboardInterrupt, subprocess.TimeoutExpired, SystemExit])
def test_a_program_and_its_helper_end_whatever_happens(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with running_program(command(tmp_path)) as process:
            wait_for_programs(tmp_path, 1)
            if error is subprocess.TimeoutExpired:
                process.wait(0.01)
            raise error

    with pytest.raises(error):
        interrupted()
    assert still_running(tmp_path) == []


def test_a_helper_that_outlives_its_program_is_ended(tmp_path: Path) -> None:
    """As those of a browser that fell over."""
    with running_program(["sh", "-c", command(tmp_path)[2].removesuffix("; wait")]) as process:
        assert process.wait(60) == 0
        wait_for_programs(tmp_path, 1)
    assert still_running(tmp_path) == []


def test_a_program_that_ends_by_itself_keeps_its_answer() -> None:
    with running_program(["sh", "-c", "echo yes; exit 3"], stdout=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[0] == b"yes\n"
    assert process.returncode == 3
    with pytest.raises(FileNotFoundError), running_program(["no-such-program"]):
        pass


def test_programs_of_workers_end_when_the_first_process_is_killed(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    script = tmp_path / "run.py"
    script.write_text(
        "from fake_programs import WaitingEngine\n"
        "from vary.datagen.shards import write_shards\n"
        "if __name__ == '__main__':\n"
        f"    engine = WaitingEngine(folder={str(numbers)!r})\n"
        f"    write_shards(engine, {str(tmp_path / 'data')!r}, samples=8, samples_per_shard=4, workers=2)\n",
        encoding="utf-8",
    )
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(TESTS)})
    try:
        wait_for_programs(numbers, 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert still_running(numbers) == []
    finally:
        process.kill()
        process.wait()
