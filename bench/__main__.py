"""``python -m bench``: run the scenarios, show the table, and say whether the answers were right."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from bench.access import access
from bench.bng import bng
from bench.ctl import ctl
from bench.dhcp import dhcp
from bench.large import large
from bench.libqb import libqb
from bench.load import LoadError, build
from bench.machine import Cores, description, version
from bench.pacemaker import pacemaker
from bench.report import as_json, markdown
from bench.scenarios import connect, daemon, forward, keep, local
from bench.single import importing, memory, one_shot
from bench.slow import slow
from bench.stage import ALONE, Session
from tests.support.programs import missing

SCENARIOS: dict[str, Callable[[Session], None]] = {
    "connect": connect,
    "keep": keep,
    "forward": forward,
    "local": local,
    "daemon": daemon,
    "slow": slow,
    "large": large,
    "oneshot": one_shot,
    "import": importing,
    "memory": memory,
    "dhcp": dhcp,
    "ctl": ctl,
    "bng": bng,
    "libqb": libqb,
    "access": access,
    "pacemaker": pacemaker,
}

PEERS = ("kea-dhcp4", "kea-ctrl-agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 where an answer was wrong or a program of ours did not start."""
    options = arguments().parse_args(argv)
    try:
        build()
    except LoadError as failure:
        print(failure, file=sys.stderr)
        return 1
    cores = Cores.of_this_machine()
    machine = description(cores)
    session = Session(
        options.seconds, options.rounds, cores, say=lambda text: print(text, file=sys.stderr, flush=True)
    )
    session.say(machine)
    note_the_peers(session)
    try:
        play(session, options.only or list(SCENARIOS))
    except KeyboardInterrupt:
        session.problem("interrupted: the scenarios that follow were not run")
    if options.json:
        print(as_json(machine, session.figures, session.problems, session.notes))
    else:
        print(results(machine, session))
    return 1 if session.problems else 0


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Bridle beside the real programs. Wrong answers fail, speed never does.",
    )
    parser.add_argument(
        "--seconds", type=positive, default=2.0, help="length of each measured run (default: 2)"
    )
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 100), metavar="N", default=3, help="runs of each (default: 3)"
    )
    parser.add_argument(
        "--only", action="append", choices=SCENARIOS, help="run this scenario; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the place of the table")
    return parser


def positive(text: str) -> float:
    """A number of seconds between 0.1 and 60."""
    value = float(text)
    if not 0.1 <= value <= 60:
        raise argparse.ArgumentTypeError("between 0.1 and 60 seconds are wanted")
    return value


def note_the_peers(session: Session) -> None:
    """Say which real programs take part, and which do not."""
    for program in PEERS:
        number = version(program)
        if number is not None:
            session.note(f"{program} {number}")
    for program in missing(PEERS):
        session.note(f"{program} is not installed: {ALONE}")


def play(session: Session, names: Sequence[str]) -> None:
    """Run the named scenarios, one after the other; one that fails ends only itself."""
    for name in names:
        session.say(name)
        try:
            SCENARIOS[name](session)
        except (LoadError, OSError) as failure:
            session.problem(f"{name}: {failure}")


def results(machine: str, session: Session) -> str:
    """The table with what a reader must know around it."""
    lines = ["## results", "", machine, "", markdown(session.figures), ""]
    lines += [
        f"Medians of runs of {session.seconds:g} s, {session.rounds} of each, the programs in turn.",
        "Ratio: how many times better Bridle is. CPU: of the asked program alone, for each answer.",
        "p99: what was unanswered at the end counts with its age.",
        "",
    ]
    lines += [f"* {note}" for note in session.notes]
    lines += [f"* **problem**: {problem}" for problem in session.problems]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
