"""docs/tasks.md: its example prints what it says, its prompts are those that are sent."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from vary.inputs.tasks import TASKS

PAGE = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says() -> None:
    found = re.search(
        r"^```python\n(.*?)^```\n\nprints\n\n```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    ran = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", found[1]], capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout == found[2]


def test_the_page_has_every_prompt() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [\w ]+ \| `(.+?)` \| (?:`(.+?)`|as in English) \|", PAGE, re.MULTILINE)
    assert {name for name, *_ in rows} == set(TASKS)
    for name, english, chinese in rows:
        task = TASKS[name]
        before, _, after = (task.about or "\0").partition("{}")
        fixed = task.prompts.get("en", ("",))[0]
        assert english == fixed or (english.startswith(before) and english.endswith(after))
        assert (chinese,) == task.prompts.get("zh", ("",))[:1]
