"""tools/mutate.py on a project of two lines: what is caught, what is not, what is not found."""

import subprocess

import pytest
from paths import ROOT

from tools import mutate

CODE = "def double(number):\n    return 2 * number\n\n\ndef triple(number):\n    return 3 * number\n"
TESTS = {
    "tests/room/test_double.py": "from room import double\ndef test_two(): assert double.double(1) == 2\n",
    "tests/room/test_zero.py": "from room import double\ndef test_zero(): assert double.double(0) == 0\n",
    "tests/test_far.py": "from room import double\ndef test_far(): assert double.triple(1) == 3\n",
}
SETTINGS = '[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = "-q --import-mode=importlib"\n'
ENTRY = "# It is {what}\nroom/double.py:{line}\n- {old}\n+ {new}\ntests: {tests}\n"


def entry(old, new, tests="tests/room/test_double.py", what="wrong", line=2):
    return ENTRY.format(old=old, new=new, tests=tests, what=what, line=line)


@pytest.fixture
def project(tmp_path):
    """A checkout with git, and a file in it that git does not know and another that it ignores."""
    root = tmp_path / "project"
    texts = {"room/double.py": CODE, "pyproject.toml": SETTINGS, ".gitignore": "/data/\n", "data/large": "", **TESTS}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


@pytest.fixture
def run(project, tmp_path, capsys):
    """A function that tries entries; gives the exit status and what was printed."""

    def run(*entries, flags=()):
        (tmp_path / "list.txt").write_text("# A head\n\n" + "\n".join(entries))
        status = mutate.main(["--root", str(project), "--list", str(tmp_path / "list.txt"), *flags])
        return status, capsys.readouterr().out.splitlines()

    return run


def test_a_fault_that_its_tests_see_is_caught(run, project):
    status, rows = run(entry("2 * number", "1 * number", what="single"))
    assert status == 0 and rows[1] == "1 of 1 caught"
    assert rows[0].startswith(
        "  1 | room/double.py:2 | It is single | caught by tests/room/test_double.py::test_two | "
    )
    assert (project / "room/double.py").read_text() == CODE and not list(project.rglob("__pycache__"))


@pytest.mark.long
def test_the_room_and_then_all_tests_are_asked_too(run):
    near = entry("2 * number", "1 * number", tests="tests/room/test_zero.py")
    far = entry("3 * number", "1 * number", line=6)
    status, rows = run(near, far)
    assert status == 0 and rows[2] == "2 of 2 caught"
    assert "caught by tests/room/test_double.py::test_two" in rows[0] and "tests/test_far.py::test_far" in rows[1]
    status, rows = run(near, far, flags=["--stage", "room"])
    assert status == 1 and rows[2] == "1 of 2 caught; not caught: 2"
    status, rows = run(near, far, flags=["--stage", "tests", "--only", "1", "--workers", "2"])
    assert status == 1 and "| NOT CAUGHT |" in rows[0] and rows[1] == "0 of 1 caught; not caught: 1"


def test_what_is_left_can_be_tried_together(run):
    far = entry("3 * number", "1 * number", line=6)
    nobody = entry("return 2 * number", "return number * 2")
    status, rows = run(far, nobody, flags=["--together"])
    assert status == 1 and rows[-1] == "1 of 2 caught; not caught: 2"
    assert rows[2].startswith("all tests with 2 faults: 1 fail")
    assert "caught by tests/test_far.py::test_far" in rows[3] and "NOT CAUGHT" in rows[4]


@pytest.mark.long
def test_a_module_that_cannot_be_collected_has_caught_nothing(run):
    renamed = entry("def double", "def twice", line=1)  # the test itself fails
    broken = entry("def double(number):", "raise OSError\n+ def double(number):", line=1)
    status, rows = run(renamed, broken)
    assert status == 1 and "caught by tests/room/test_double.py::test_two" in rows[0]
    assert "NOT CAUGHT: tests/room/test_double.py cannot be collected, no test has seen the fault" in rows[1]


@pytest.mark.long
def test_the_tests_of_the_list_itself_catch_nothing(run, project):
    own = project / mutate.OWN_TESTS
    own.parent.mkdir()
    own.write_text(
        "import pathlib\ndef test_text(): assert '2 * number' in pathlib.Path('room/double.py').read_text()\n"
    )
    status, rows = run(entry("return 2 * number", "return number * 2"))
    assert status == 1 and "| NOT CAUGHT |" in rows[0]


@pytest.mark.long
def test_a_test_that_fails_anyway_catches_nothing(run, project):
    (project / "tests/room/test_broken.py").write_text("def test_broken(): assert False\n")
    nobody = entry("return 2 * number", "return number * 2")
    status, rows = run(nobody)
    assert status == 1 and "NOT CAUGHT: tests/room/test_broken.py::test_broken fails without the fault too" in rows[0]
    with pytest.raises(ValueError, match="tests/room/test_broken.py::test_broken fails without any fault; mend it"):
        run(entry("return 2 * number", "return number * 2", tests="tests/room/test_broken.py"))
    with pytest.raises(ValueError, match="the list names tests/none.py, which does not exist"):
        run(entry("2 * number", "1 * number", tests="tests/none.py"))


@pytest.mark.long
def test_tests_that_do_not_end_are_ended(run):
    endless = entry("    return 2 * number", "    while number: pass\n+     return 0")
    status, rows = run(endless, flags=["--timeout_s", "20"])
    assert status == 1 and "NOT CAUGHT: pytest tests/room/test_double.py did not end in 20 s" in rows[0]


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("4 * number", "1", 2, "does not hold the text '4 * number' any more; write what became of it"),
        ("number):", "it):", 3, "holds 'number):' twice equally near to line 3; write more of it"),
        ("2 * number", "2 *", 2, "is no Python with it: invalid syntax"),
    ],
)
def test_a_text_that_cannot_be_changed_is_told(old, new, line, message, run):
    status, rows = run(entry(old, new, line=line))
    assert status == 1 and rows[1] == "0 of 1 caught; not caught: 1"
    assert f"NOT CAUGHT: fault 1: room/double.py {message}" in rows[0]


def test_a_file_that_has_moved_is_told(run, project):
    (project / "room/double.py").rename(project / "room/twice.py")
    (project / "tests/room/test_double.py").write_text("def test_nothing(): pass\n")
    assert "fault 1: room/double.py does not exist any more; write where the code went" in run(entry("2", "1"))[1][0]


def test_line_numbers_are_rewritten(run, project, tmp_path):
    two = entry("return", "yield", line=2), entry("return", "yield", line=5)
    (project / "room/double.py").write_text("\n\n\n" + CODE)
    status, rows = run(*two, entry("4 * number", "1"), flags=["--rewrite_lines"])
    assert status == 1 and rows[0] == "fault 1: room/double.py:2 is line 5 now" and "does not hold" in rows[1]
    assert run(*two[:1], entry("3 * number", "1", line=1), flags=["--rewrite_lines"])[0] == 0
    assert [line for line in (tmp_path / "list.txt").read_text().splitlines() if line.startswith("room")] == [
        "room/double.py:5", "room/double.py:9",
    ]  # fmt: skip


@pytest.mark.parametrize("missing", ["room/", "- ", "+ ", "tests: "])
def test_an_entry_of_another_form_is_refused_with_its_line(missing, run):
    lines = [line for line in entry("2", "1").splitlines(keepends=True) if not line.startswith(missing)]
    with pytest.raises(ValueError, match="list.txt line 3: expected '# what', 'file:line', '- text' lines"):
        run("".join(lines))


def test_every_fault_of_this_project_is_found_and_its_tests_exist():
    mutations = mutate.read_mutations(str(ROOT / mutate.LIST))
    assert len(mutations) >= 40
    for mutation in mutations:
        mutate.locate(mutation, ROOT)
        assert [test for test in mutation.tests if not (ROOT / test).exists()] == []
    rooms = {mutation.path.partition("/")[0] if "/" in mutation.path else mutation.path for mutation in mutations}
    folders = {"common", "dataset", "layouts", "reader", "models", "engine", "inference", "tools", "configs"}
    assert folders | {"config.py", "recipe.py", "test.py"} <= rooms
