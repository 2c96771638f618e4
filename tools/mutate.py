"""Put faults into copies of the code, one by one, and say which test catches each (mutation testing).

    python tools/mutate.py
    python tools/mutate.py --only 3 17
    python tools/mutate.py --rewrite_lines

`tests/mutations.txt` lists the faults; its head explains the form. Each is put into a temporary copy of the files that
git knows or would add; the checkout itself is never changed. There pytest runs the tests that the entry names, then, if
none fails, those of the folder under tests/ that mirrors the file's, then all default tests. A test
that fails without the fault too does not count, nor does a module of tests that can no longer be imported.

The exit status is 1 if a fault is not caught, or its text is not found any more.
"""

import ast
import contextlib
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import lifetime
from common.command_line import CommandLine, run_main
from common.files import write_atomically

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = "tests/mutations.txt"
OWN_TESTS = "tests/tools/test_mutate.py"  # they look for each text of the list, and would miss any that is changed
HEADER = re.compile(r"(\S+):(\d+)")
FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+\.py)(::.*?)?(?: - .*)?$", re.MULTILINE)
STAGES = ("tests", "room", "all")
CAUGHT, SURVIVED, BROKEN = "caught by ", "NOT CAUGHT", "NOT CAUGHT: "


@dataclass(frozen=True)
class Mutation:
    """An entry of the list.

    Attributes:
        number: place in the list, from 1.
        what: the comment above it.
        path: the file, from the root, with "/".
        line: where `old` begins, from 1; of several places the nearest to it is meant.
        old, new: the text, and what it becomes; whole lines or a part of one.
        tests: files or folders that should catch it.
        list_line: where the entry stands in the list, from 0.
    """

    number: int
    what: str
    path: str
    line: int
    old: str
    new: str
    tests: tuple[str, ...]
    list_line: int


def parse_arguments(argv: list | None = None):
    """Parse the command line; see `python tools/mutate.py --help`."""
    parser = CommandLine("Put faults into copies of the code and see which tests catch them.")
    parser.add_argument("--root", default=str(ROOT), help="checkout to copy")
    parser.add_argument("--list", default=str(ROOT / LIST), help="the faults")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the faults to try; default: all")
    parser.add_argument("--stage", choices=STAGES, default="all", help="last tests that are run for a fault")
    together_help = "run all tests once, with all faults in place that their own tests leave, then what fails with each"
    parser.add_argument("--together", action="store_true", help=together_help)
    parser.add_argument("--workers", type=int, default=1, help="faults that are tried side by side")
    parser.add_argument("--timeout_s", type=float, default=3600, help="after so long a run of pytest is ended")
    parser.add_argument("--rewrite_lines", action="store_true", help="correct the line numbers in the list, and end")
    return parser.parse_args(argv)


def main(argv: list | None = None) -> int:
    """Try the faults that the command line asks for."""
    args = parse_arguments(argv)
    mutations = read_mutations(args.list)
    if args.rewrite_lines:
        return rewrite_lines(args.root, args.list, mutations)
    if args.only:
        mutations = [mutation for mutation in mutations if mutation.number in args.only]
    run = functools.partial(run_tests, timeout_s=args.timeout_s)
    with copy_checkout(args.root) as clean:
        check_clean(clean, mutations, run)
        stages = STAGES[: 1 if args.together else STAGES.index(args.stage) + 1]
        with ThreadPoolExecutor(args.workers) as pool:
            verdicts = dict(pool.map(lambda one: (one, try_mutation(one, args.root, clean, stages, run)), mutations))
        if args.together:
            left = [one for one, verdict in verdicts.items() if verdict == SURVIVED]
            verdicts.update(try_together(left, args.root, clean, run))
    survivors = [str(one.number) for one, verdict in verdicts.items() if not verdict.startswith(CAUGHT)]
    print(f"{len(verdicts) - len(survivors)} of {len(verdicts)} caught", end="")
    print(f"; not caught: {', '.join(survivors)}" if survivors else "")
    return 1 if survivors else 0


def read_mutations(path: str) -> list[Mutation]:
    """Read the list.

    Raises:
        ValueError: an entry of another form, with its line.
    """
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    blocks, start = [], 0
    for end in [index for index, line in enumerate(lines) if not line.strip()] + [len(lines)]:
        block = lines[start:end]
        if any(not line.startswith("#") for line in block):
            blocks.append((start, block))
        start = end + 1
    return [parse_entry(number, block, start, path) for number, (start, block) in enumerate(blocks, 1)]


def parse_entry(number: int, block: list[str], start: int, path: str) -> Mutation:
    """Parse one entry, which begins in line `start` of the list, from 0."""
    what = [line[1:].strip() for line in block if line.startswith("#")]
    old = [line[2:] for line in block if line[:1] == "-"]
    new = [line[2:] for line in block if line[:1] == "+"]
    tests = [line.removeprefix("tests: ").split() for line in block if line.startswith("tests: ")]
    header = HEADER.fullmatch(block[len(what)]) if len(what) < len(block) else None
    if not (header and old and new and tests) or len(what) + len(old) + len(new) + 2 != len(block) or old == new:
        raise ValueError(
            f"{path} line {start + 1}: expected '# what', 'file:line', '- text' lines, '+ text' lines, 'tests: files', "
            f"got {block}"
        )
    place = header[1], int(header[2])
    return Mutation(number, " ".join(what), *place, "\n".join(old), "\n".join(new), tuple(tests[0]), start + len(what))


def locate(mutation: Mutation, root: str | os.PathLike) -> tuple[str, int, int]:
    """Find the text of a mutation.

    Returns:
        The file's content, the offset of the text in it, and its line number.

    Raises:
        ValueError: no such file, the text is not in it any more, or stands equally near twice.
    """
    path = pathlib.Path(root, mutation.path)
    where = f"fault {mutation.number}: {mutation.path}"
    if not path.is_file():
        raise ValueError(f"{where} does not exist any more; write where the code went into the list")
    with open(path, encoding="utf-8", newline="") as file:
        content = file.read()
    offsets = [found.start() for found in re.finditer(re.escape(mutation.old), content)]
    places = sorted((abs(content.count("\n", 0, offset) + 1 - mutation.line), offset) for offset in offsets)
    if not places:
        raise ValueError(f"{where} does not hold the text {mutation.old!r} any more; write what became of it")
    if len(places) > 1 and places[0][0] == places[1][0]:
        raise ValueError(f"{where} holds {mutation.old!r} twice equally near to line {mutation.line}; write more of it")
    offset = places[0][1]
    return content, offset, content.count("\n", 0, offset) + 1


def apply(mutation: Mutation, root: str | os.PathLike) -> None:
    """Put a fault into a copy.

    Raises:
        ValueError: see `locate`; or what results is no Python.
    """
    content, offset, _ = locate(mutation, root)
    changed = content[:offset] + mutation.new + content[offset + len(mutation.old) :]
    if mutation.path.endswith(".py"):
        try:
            ast.parse(changed)
        except SyntaxError as error:
            raise ValueError(f"fault {mutation.number}: {mutation.path} is no Python with it: {error}") from error
    with open(pathlib.Path(root, mutation.path), "w", encoding="utf-8", newline="") as file:
        file.write(changed)


def rewrite_lines(root: str, list_path: str, mutations: list[Mutation]) -> int:
    """Write the line numbers as they are now into the list; return 1 if a text is not found any more."""
    lines = pathlib.Path(list_path).read_text(encoding="utf-8").splitlines()
    faults = 0
    for mutation in mutations:
        try:
            line = locate(mutation, root)[2]
        except ValueError as error:
            print(error)
            faults += 1
            continue
        if line != mutation.line:
            print(f"fault {mutation.number}: {mutation.path}:{mutation.line} is line {line} now")
            lines[mutation.list_line] = f"{mutation.path}:{line}"
    with write_atomically(list_path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return 1 if faults else 0


@contextlib.contextmanager
def copy_checkout(root: str) -> Iterator[pathlib.Path]:
    """Copy the files of a checkout that git knows or would add; the copy goes at the end."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        for name in filter(None, names.split("\0")):
            source, target = pathlib.Path(root, name), pathlib.Path(folder, name)
            if source.is_file():  # not one that git knows and someone has deleted
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        yield pathlib.Path(folder)


def run_tests(copy: pathlib.Path, tests: list, timeout_s: float, fail_fast: bool = True) -> list[str]:
    """Run pytest in a copy.

    Args:
        tests: files, folders or tests; none: what pytest runs by default.
        fail_fast: stop at the first failure.

    Returns:
        The tests that fail; a module that fails while its tests are collected has no "::" in its name.

    Raises:
        ValueError: pytest itself fails, or does not end in time.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *(["-x"] if fail_fast else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    with tempfile.TemporaryDirectory(prefix="mutation-tests-") as folder:
        command += ["--ignore", OWN_TESTS, "--basetemp", f"{folder}/files", *tests]
        process = subprocess.Popen(lifetime.tie(command), cwd=copy, env=environment, start_new_session=True, **pipes)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.communicate()
            raise ValueError(f"pytest {' '.join(tests)} did not end in {timeout_s:g} s") from None
    failed = [module + (test or "") for module, test in FAILURE.findall(output)]
    if process.returncode not in (0, 5) and not failed:  # 5: there are no tests
        raise ValueError(f"pytest {' '.join(tests)} ended with status {process.returncode}: {output[-300:]!r}")
    return failed


def check_clean(clean: pathlib.Path, mutations: list[Mutation], run) -> None:
    """Run the tests that the entries name without any fault.

    Raises:
        ValueError: a test fails, or does not exist.
    """
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    missing = [test for test in tests if not pathlib.Path(clean, test.partition("::")[0]).exists()]
    if missing:
        raise ValueError(f"the list names {missing[0]}, which does not exist; correct the entry")
    failed = run(clean, tests) if tests else []
    if failed:
        raise ValueError(f"{failed[0]} fails without any fault; mend it first")


def find_room(path: str, root: pathlib.Path) -> list[str]:
    """List the tests that mirror a file's folder: tests/engine for engine/, the modules in tests/ for scripts."""
    folder = path.partition("/")[0] if "/" in path else ""
    if not folder:
        return sorted(str(test.relative_to(root)) for test in root.glob("tests/test_*.py"))
    return [f"tests/{folder}"] if pathlib.Path(root, "tests", folder).is_dir() else []


def try_mutation(mutation: Mutation, root: str, clean: pathlib.Path, stages: tuple, run) -> str:
    """Put a fault into a copy, run the tests of the stages, print a row, and return what came of it."""
    start_s = time.monotonic()
    tests = {"tests": list(mutation.tests), "room": find_room(mutation.path, clean), "all": []}
    verdict = SURVIVED
    with copy_checkout(root) as copy:
        try:
            apply(mutation, copy)
            for stage in stages:
                if stage == "all" or tests[stage]:
                    verdict = judge(run(copy, tests[stage]), clean, stage != "tests", run)
                if verdict != SURVIVED:
                    break
        except ValueError as error:
            verdict = f"{BROKEN}{error}"
    print_row(mutation, verdict, time.monotonic() - start_s)
    return verdict


def judge(failed: list[str], clean: pathlib.Path, is_unchecked: bool, run) -> str:
    """Return what a run's failures say; `is_unchecked`: the tests have not been run without the fault."""
    if not failed:
        return SURVIVED
    if "::" not in failed[0]:
        return f"{BROKEN}{failed[0]} cannot be collected, no test has seen the fault"
    if is_unchecked and run(clean, [failed[0].partition("[")[0]]):
        return f"{BROKEN}{failed[0]} fails without the fault too"
    return CAUGHT + failed[0]


def try_together(mutations: list[Mutation], root: str, clean: pathlib.Path, run) -> dict:
    """Run all tests once with several faults in place, then what failed with each fault alone."""
    start_s, verdicts = time.monotonic(), dict.fromkeys(mutations, SURVIVED)
    if not mutations:
        return {}
    with copy_checkout(root) as copy:
        for mutation in mutations:
            apply(mutation, copy)
        failed = run(copy, [], fail_fast=False)
    print(f"all tests with {len(mutations)} faults: {len(failed)} fail, {time.monotonic() - start_s:.0f} s", flush=True)
    for mutation in mutations if failed else []:
        start_s = time.monotonic()
        with copy_checkout(root) as copy:
            apply(mutation, copy)
            tests = sorted({test.partition("[")[0] for test in failed})
            verdicts[mutation] = judge(run(copy, tests), clean, True, run)
        print_row(mutation, verdicts[mutation], time.monotonic() - start_s)
    return verdicts


def print_row(mutation: Mutation, verdict: str, seconds: float) -> None:
    """Print the row of a fault."""
    place = f"{mutation.path}:{mutation.line}"
    print(f"{mutation.number:>3} | {place} | {mutation.what} | {verdict} | {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    run_main(main)
