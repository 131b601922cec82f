"""Makes docs/rules.md of the rule book: `python -m raft_threads.companion.rules_page > docs/rules.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from raft_threads.companion.breaks import BREAKS
from raft_threads.companion.rule import Rule
from raft_threads.companion.rules import RULES
from raft_threads.companion.source import path_of

HEADINGS = {
    "F2.State": "Fig. 2, State",
    "F2.RequestVote": "Fig. 2, RequestVote RPC: receiver implementation",
    "F2.AppendEntries": "Fig. 2, AppendEntries RPC: receiver implementation",
    "F2.AllServers": "Fig. 2, All Servers",
    "F2.Followers": "Fig. 2, Followers",
    "F2.Candidates": "Fig. 2, Candidates",
    "F2.Leaders": "Fig. 2, Leaders",
    "F13": "Fig. 13, InstallSnapshot RPC: receiver implementation",
    "F13.Leaders": "Fig. 13, leaders",
    "F13.Followers": "Fig. 13, followers",
    "S6": "§6, cluster membership changes",
    "S7": "§7, log compaction, as far as Fig. 13 does not say it",
    "S8": "§8, client interaction",
}
INTRODUCTION = """\
# The rule book

Every rule of the paper's Figures 2 and 13 and of its sections 6, 7 and 8: what it says, in our words, and why it is
there; the function that is the rule; where the tests are that name it; and what servers do without it, and what is lost
then. `F2.Leaders.4` is the fourth bullet for leaders in Fig. 2, `F2.Leaders.3.1` the first one below the third, `F13.6`
step 6 of Fig. 13; §6 to §8 have no bullets, so `S6.4` is the fourth rule in the order of the text. Step 2 of the
RequestVote box asks for two things: they are `F2.RequestVote.2.1` and `2.2`.

```
python3 run_demo.py rule F2.Leaders.4     # its code, its tests, and the breakpoint to set
python3 run_demo.py break F2.Leaders.4    # a run without it, drawn up to the step at which something is lost
```
"""


def page() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, score(), *sections(), MADE_BY])


def score() -> str:
    """Return what `tests/test_rules_left_out.py` shows."""
    shown = [each for each in BREAKS.values() if each.schedule is not None]
    untold = [name for name, each in BREAKS.items() if each.schedule is None]
    return SCORE.format(rules=len(RULES), shown=len(shown), untold=", ".join(untold))


SCORE = """\
Each run is a script, not found by a search over seeds: so it is short, says what happens, and is the same every time.

There are {rules} rules. Without any one of them, a test that names it fails. Without {shown} of them a run of the
simulator loses a property of Fig. 3, or liveness (nothing gets on any more), linearizability (clients see what no order
of their operations explains) or persistence (what a server has acknowledged is not on its disk any more); the same run
with the rule does not. The others cannot be told from their absence there, and the table says why: {untold}.
[test_rules_left_out.py](../tests/test_rules_left_out.py) runs all of that, and prints the score."""
MADE_BY = """
---

Made of [raft_threads/companion](../raft_threads/companion/rules.py); a test compares. To make it again:
`python3 -m raft_threads.companion.rules_page > docs/rules.md`
"""


def sections() -> Iterator[str]:
    """Return a heading and a table for each part of the paper."""
    for group, rules in groupby(RULES.values(), key=lambda rule: rule.group):
        yield f"\n## {HEADINGS[group]}\n"
        yield "| | the rule, and why | function | tests in | without it |"
        yield "|---|---|---|---|---|"
        yield from map(row, rules)


def row(rule: Rule) -> str:
    """Return a rule's line of the table."""
    name = rule.function.split(".", 2)[2]
    function = f"[`{name}`](../{path_of(rule.function)})"
    return f"| {rule.id} | {rule.says} *{rule.why}* ({rule.read}) | {function} | {files(rule)} | {without(rule)} |"


def files(rule: Rule) -> str:
    """Return links to the files with tests that name the rule."""
    paths = dict.fromkeys(test.partition("::")[0] for test in rule.tests)
    return ", ".join(f"[{path[len('tests/test_'):-len('.py')]}](../{path})" for path in paths)


def without(rule: Rule) -> str:
    """Return what servers do without the rule, and what is lost, or why nothing is."""
    each = BREAKS[rule.id]
    return f"{each.does} **{each.loses}** is lost." if each.loses else f"{each.does} Nothing is lost. {each.untold}"


if __name__ == "__main__":
    sys.stdout.write(page())
