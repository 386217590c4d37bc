"""The `vary` command as a process of its own whose page model gives the answers in $ANSWERS, a JSON list."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from answering import Answers
from vary.cli.main import main

if __name__ == "__main__":
    Answers(json.loads(os.environ["ANSWERS"])).use()
    sys.exit(main())
