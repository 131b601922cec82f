"""`run_demo.py quiz`: what may be typed, what is said to it, and how it ends (§9.1)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Optional, Union

import pytest
from asked import right_answer

from raft_threads import election
from raft_threads.companion.quiz import command
from raft_threads.companion.quiz.answers import Answers, Choice, Number, Servers
from raft_threads.companion.quiz.asking import Quiz, draw_question
from raft_threads.companion.quiz.question import Rule
from raft_threads.companion.quiz.topics import TOPICS
from raft_threads.companion.sheet import WIDTH
from raft_threads.demo import cli

ROOT = Path(__file__).resolve().parent.parent
# How many seeds are tried; what looks for something takes longer.
COSTLY, FEW, MANY = ("safe", "without"), 2, 6
LETTERS = Choice([["one"], ["two"], ["three"], ["four"]], frozenset({0, 2}), several=True)
LETTER = Choice([["Log Matching"], ["Election Safety"]], frozenset({1}))
NAMES = Servers(["S1", "S2", "S3"], frozenset({0, 2}))


def play(topic: str, answers: str, questions: int = 1, seed: object = 1) -> tuple[Quiz, str]:
    """Hold a quiz to its end, with these lines as answers; return it, and what it said."""
    out = io.StringIO()
    quiz = Quiz(seed, questions, [topic], io.StringIO(answers), out)
    quiz.run()
    return quiz, out.getvalue()


def another_than(answers: Answers) -> str:
    """Return a wrong answer as it is typed."""
    if isinstance(answers, Number):
        return str(answers.number + 1)
    if isinstance(answers, Choice) and not answers.several:
        return answers.said(frozenset({0 if 1 in answers.right else 1}))
    return answers.said(answers.right ^ {1})


@pytest.mark.parametrize("topic", TOPICS)
def test_the_answer_that_was_worked_out_is_right_and_another_is_wrong(topic: str) -> None:
    """Whatever the seed; each answer is followed by the rules it rests on."""
    for seed in range(FEW if topic in COSTLY else MANY):
        questions = [draw_question(seed, number, topic) for number in (1, 2)]
        answers = f"{right_answer(questions[0])}\n{another_than(questions[1].answers)}\n"
        quiz, text = play(topic, answers, 2, seed)
        assert (quiz.right, quiz.answered) == (1, 2), text
        assert f"Right: {right_answer(questions[0])}." in text
        assert f"Wrong. It is {right_answer(questions[1])}." in text
        for question in questions:
            for rule in question.rules:
                assert rule.place() in text


@pytest.mark.parametrize("topic", TOPICS)
def test_the_same_seed_asks_the_same_and_another_asks_another(topic: str) -> None:
    """So that a question can be talked about, and there are always new ones."""
    drawn = [draw_question(seed, 1, topic) for seed in (1, 1, 2)]
    once, again, other = (str(question.asked) + str(question.answers) for question in drawn)
    assert once == again != other


@pytest.mark.parametrize("topic", TOPICS)
def test_a_question_fits_on_a_terminal_and_names_where_to_read(topic: str) -> None:
    """Pictures are as wide as the logs, and those are short; a breakpoint can be set at each rule that is named."""
    quiz, text = play(topic, "?\n")
    assert (quiz.right, quiz.answered) == (0, 1)
    assert max(len(line) for line in text.splitlines() if " raft_threads/" not in line) <= WIDTH
    for rule in draw_question(1, 1, topic).rules:
        path, line = rule.place().rsplit(" ", 1)[1].split(":")
        source = (ROOT / path).read_text().splitlines()[int(line) - 1]
        assert source.strip().startswith((f"def {rule.function.__name__}(", "@"))


def test_what_is_missing_is_shown_as_it_stands_in_the_code() -> None:
    """What goes wrong without this line: the line is seen, without its docstring."""
    rule = Rule(election.is_at_least_as_up_to_date, "§5.4.1")
    assert rule.lines() == ["return (last_log_term, last_log_index) >= (log.last_term, log.last_index)"]
    assert Rule(election.grants_vote, "Fig. 2").lines()[0] == "return ("


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("topic", TOPICS)
def test_hundreds_of_seeds_ask_what_can_be_answered(topic: str) -> None:
    """Each right answer can be typed, and is one of those that are offered."""
    for seed in range(300):
        question = draw_question(seed, 1, topic)
        assert question.answers.understand(right_answer(question)) == question.answers.right, seed
        assert question.answers.understand(another_than(question.answers)) not in (None, question.answers.right), seed


# What may be typed


@pytest.mark.parametrize(
    "answers, typed, understood",
    [
        *[(LETTERS, text, {0, 2}) for text in ("a c", "A,C", "ac", "1 3", "1,3", "c and a", "(a), (c)")],
        *[(LETTERS, text, set()) for text in ("none", "-", "0", " Nothing ")],
        (LETTERS, "all", {0, 1, 2, 3}),
        (LETTERS, "two", {1}),
        *[(LETTERS, text, None) for text in ("", "e", "5", "a x", "maybe", "none a", "999999999999999999999")],
        *[(LETTER, text, {1}) for text in ("b", " B ", "2", "election safety", "b b")],
        *[(LETTER, text, None) for text in ("a b", "none", "", "§")],
        *[(NAMES, text, {0, 2}) for text in ("S1 S3", "s1,s3", "1 3", "S3S1", "s 1 and s 3")],
        *[(NAMES, text, set()) for text in ("none", "nobody", "-")],
        (NAMES, "all", {0, 1, 2}),
        *[(NAMES, text, None) for text in ("S4", "13", "", "n1")],
        *[(Number(3), text, {3}) for text in ("3", "index 3", "up to 3", " 3.")],
        (Number(3), "none", {0}),
        *[(Number(3), text, None) for text in ("", "three", "1 2", "9" * 5000)],
    ],
)
def test_much_is_understood_as_an_answer(answers: Answers, typed: str, understood: Optional[set[int]]) -> None:
    """Letters or numbers, with blanks, commas or nothing between them."""
    assert answers.understand(typed) == understood


@pytest.mark.parametrize("answers", [LETTERS, LETTER, NAMES, Number(3)])
def test_an_answer_is_understood_as_it_is_told(answers: Answers) -> None:
    """What the quiz calls right can be typed."""
    assert answers.understand(answers.said(answers.right)) == answers.right


def test_what_is_not_understood_is_asked_again_and_does_not_count() -> None:
    """With what to type."""
    quiz, text = play("commit", f"what?\n\n{right_answer(draw_question(1, 1, 'commit'))}\n")
    assert (quiz.right, quiz.answered) == (1, 1)
    assert text.count("That is no answer here. Type a number, or ? or q.") == 2


def test_all_topics_are_asked_about_before_any_comes_again() -> None:
    """In an order that the seed decides."""
    out = io.StringIO()
    cheap = ["votes", "commit", "joint", "session"]
    Quiz(1, 8, cheap, io.StringIO("?\n" * 8), out).run()
    headings = [line for line in out.getvalue().splitlines() if line.startswith("== Question")]
    for half in (headings[:4], headings[4:]):
        assert {heading.split(": ")[1].split("  [")[0] for heading in half} == {TOPICS[each].asks for each in cheap}


# The command


class Interrupted:
    """A terminal at which somebody presses Ctrl-C."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    def readline(self) -> str:
        """Ctrl-C."""
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "keys, code, last",
    [
        (io.StringIO(""), 0, "0 of 0 right."),
        (io.StringIO("?\nq\n"), 0, "0 of 1 right."),
        (io.StringIO("?\n?\n?"), 0, "0 of 3 right."),
        (Interrupted(), 130, "0 of 0 right."),
    ],
    ids=["end of input", "q", "all asked", "Ctrl-C"],
)
def test_it_ends_with_the_score_so_far(
    keys: Union[io.StringIO, Interrupted],
    code: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At the end of the input, with q, and after Ctrl-C."""
    monkeypatch.setattr(sys, "stdin", keys)
    assert cli.main(["quiz", "--seed", "1", "--topic", "session", "--topic", "votes", "--questions", "3"]) == code
    out, err = capsys.readouterr()
    assert (out.splitlines()[-1].strip(), err) == (last, "")


def test_the_topics_and_the_quiz_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """`quiz --list`, and `--list` of the demo."""
    assert cli.main(["quiz", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(TOPICS)
    assert cli.main(["--list"]) == 0
    assert f"quiz          {command.SHOWS}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--topic", "paxos"], "paxos"),
        (["--questions", "0"], "from 1 to 1000"),
        (["--questions", "many"], "from 1 to 1000"),
        (["--questions", "9" * 5000], "from 1 to 1000"),
        (["--seed", "x"], "invalid int value"),
        (["now"], "unrecognized arguments: now"),
    ],
)
def test_wrong_arguments_are_exit_code_2_and_say_what_is_wrong(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage and one line, on standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["quiz", *arguments])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_on_a_pipe_a_seed_asks_the_same_in_every_process(tmp_path: Path) -> None:
    """From any directory, and however Python hashes; at the end of the answers it ends."""
    topics = ["votes", "joint", "follower"]
    play = [sys.executable, str(ROOT / "run_demo.py"), "quiz", "--seed", "5", "--questions", "3"]
    done = subprocess.run(
        [*play, *(argument for topic in topics for argument in ("--topic", topic))],
        input="?\n" * 3,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        timeout=50,
    )
    here = io.StringIO()
    Quiz(5, 3, topics, io.StringIO("?\n" * 3), here).run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{here.getvalue()}\n   0 of 3 right.\n"


@pytest.mark.parametrize("arguments", [["--topic", "joint", "--questions", "2"], ["--list"]], ids=["quiz", "list"])
def test_whoever_reads_may_have_seen_enough(arguments: list[str]) -> None:
    """As `head` has: no traceback."""
    read, write = os.pipe()
    os.close(read)
    play = [sys.executable, str(ROOT / "run_demo.py"), "quiz", *arguments]
    closed = subprocess.run(play, input="?\n?\n", stdout=write, stderr=subprocess.PIPE, text=True, timeout=50)
    os.close(write)
    assert (closed.returncode, closed.stderr) == (0, "")
