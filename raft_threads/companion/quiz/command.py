"""`run_demo.py quiz`: questions on the paper, each worked out by running the rules (§9.1)."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from raft_threads.companion.quiz.asking import Ended, Quiz
from raft_threads.companion.quiz.topics import TOPICS

SHOWS = "questions on the paper; the answers are worked out by running the rules (§9.1)"
DONE, INTERRUPTED = 0, 130
QUESTIONS, MOST_QUESTIONS = 10, 1000
LARGEST_NEW_SEED = 9999


def main(argv: Sequence[str]) -> int:
    """Hold the quiz that `argv` asks for; return 0, or 130 if it was interrupted."""
    arguments = build_parser().parse_args(argv)
    if arguments.list:
        print("\n".join(f"{name:10}{topic.asks} ({topic.sections})" for name, topic in TOPICS.items()))
        return DONE
    seed = random.randint(1, LARGEST_NEW_SEED) if arguments.seed is None else arguments.seed
    quiz = Quiz(seed, arguments.questions, arguments.topic or list(TOPICS), sys.stdin, sys.stdout)
    exit_code = DONE
    try:
        quiz.run()
    except Ended:
        pass
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
    print(f"\n   {quiz.score()}")
    return exit_code


def parse_questions(text: str) -> int:
    """Return how many questions to ask."""
    if not (text.isdigit() and 1 <= int(text[:9]) <= MOST_QUESTIONS):
        raise argparse.ArgumentTypeError(f"a number of questions from 1 to {MOST_QUESTIONS}, not {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the quiz's arguments."""
    parser = argparse.ArgumentParser(
        prog="run_demo.py quiz",
        description="Questions in the manner of the paper's user study (§9.1), always new ones. Every answer is worked "
        "out by running the rules, and explained. Answers may come from a pipe, one a line.",
        epilog="Exit code 0 when the quiz is over, whatever the score; 130 after Ctrl-C.",
    )
    parser.add_argument("--list", action="store_true", help="name the topics")
    parser.add_argument(
        "--topic", action="append", choices=TOPICS, metavar="TOPIC",
        help="ask about this only; may be given several times: " + ", ".join(TOPICS),
    )
    parser.add_argument(
        "--questions", type=parse_questions, default=QUESTIONS, metavar="N", help=f"how many (default: {QUESTIONS})"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="ask the questions of this seed (default: a new one)")
    return parser
