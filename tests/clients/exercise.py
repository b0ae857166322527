"""What every client does, and what must come of it."""

import json
import os
import subprocess

EXPECTED = ["jq_filter", "time_convert", "time_difference", "time_now", "time_zones"]

# The call that a person has to agree to.
HELD = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-22T00:00:00Z"}


def refusal(result):
    """What the host says of a refusal: in `_meta`, where the tool promises a form for its content."""
    return result.structured_content or (result.meta or {}).get("dev.tollgate/refusal")


class Home:
    """The host's home, as the person who answers approvals sees it."""

    def __init__(self, program, home):
        self.command = [program, "--home", home]
        # The person's credential is nowhere where a client could find it.
        self.environment = {**os.environ, "TOLLGATE_PERSON_TOKEN": os.environ.pop("APPROVER")}

    def run(self, *words):
        done = subprocess.run(
            [*self.command, *words], env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    def approve(self, approval):
        self.run("approvals", "approve", approval)

    def waiting(self):
        lines = self.run("--format", "json", "approvals", "list").splitlines()
        return [json.loads(line)["id"] for line in lines]
