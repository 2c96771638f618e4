"""The house itself: imports point down, importing does nothing else, and the text keeps the rules of the house."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest
from paths import ROOT

# The rooms by floor, from the ground up: a room imports its own modules and what stands on the floors below it. A
# folder of Python at the root is a room; the modules at the root are scripts but for the two that are named here.
FLOORS = [
    {"common"},
    {"config", "dataset", "layouts"},
    {"models", "reader"},
    {"engine"},
    {"inference", "recipe"},
    {"tools"},
]
SCRIPTS = {
    "avi2jpg", "jpg2pkl", "data_list_gener", "skeleton2pkl", "train", "train_streams", "test", "ensemble", "predict",
    "app",
}  # fmt: skip
FORBIDDEN = {"engine": {"models", "reader"}}  # though they are below: the engine takes any network and any loader
WITHOUT_PADDLE = {
    "config", "common", "dataset", "layouts", "engine.flags", "engine.run_settings", "avi2jpg", "jpg2pkl",
    "data_list_gener", "skeleton2pkl",
}  # fmt: skip

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 350  # the yardstick is 300; this is the fence behind it


def find_files():
    """List the project's Python files, tests excepted."""
    folders = [path for path in sorted(ROOT.iterdir()) if path.name != "tests" and (path / "__init__.py").exists()]
    return sorted(ROOT.glob("*.py")) + [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def name_module(path, root=ROOT):
    """Turn models/__init__.py into models, models/rgb/resnet3d.py into models.resnet3d."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = find_files()
PROJECT = {name_module(path).split(".")[0] for path in FILES}
every_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])


def parse(path):
    """Parse a file as Python 3.10, the oldest that must run it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 10))


def list_imports(tree, package=""):
    """List the full names a file imports, inside functions too; relative ones count from `package`."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(f"{package}.{node.module or ''}" if node.level else node.module)
    return names


# Each rule takes a syntax tree and yields (line, what is wrong).


def find_statements_we_do_not_write(tree):
    """Asserts (which -O removes), handlers that catch all or swallow, code made from text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert outside tests; raise ValueError with a sentence"
        elif isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield node.lineno, "bare except; name the exception"
            if all(_does_nothing(statement) for statement in node.body):
                yield node.lineno, "except that swallows the error without a word"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            yield node.lineno, f"{node.func.id}()"


def _does_nothing(statement):
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant or isinstance(statement, (ast.Pass, ast.Continue))


def find_missing_docstrings(tree):
    """Modules, public functions and classes, and public methods of those, without a docstring."""
    if not ast.get_docstring(tree):
        yield 1, "module has no docstring"
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, named) and not node.name.startswith("_")]
    for node in public:  # grows while it is read
        if not ast.get_docstring(node):
            yield node.lineno, f"{node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            public += [part for part in node.body if isinstance(part, named) and not part.name.startswith("_")]


def find_long_functions(tree):
    """Functions over the fence; a docstring counts."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            num_lines = node.end_lineno - node.lineno + 1
            if num_lines > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {num_lines} lines, at most {MAX_FUNCTION_LINES}"


def find_private_paddle(tree):
    """Names below `paddle` that start with an underscore, and its inner packages."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [f"{getattr(node, 'module', None) or ''}.{alias.name}".strip(".") for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            if re.match(r"paddle\.(.*\.)?(_(?!_)\w*|base|fluid)\b", name):
                yield node.lineno, f"{name} is private to Paddle"


def find_empty_names(tree):
    """Class names that say nothing of what a class is for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and (node.name.startswith("Base") or node.name.endswith("Manager")):
            yield node.lineno, f"class {node.name}: name what it does"


RULES = [
    find_statements_we_do_not_write,
    find_missing_docstrings,
    find_long_functions,
    find_private_paddle,
    find_empty_names,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@every_file
def test_text_keeps_the_rule(path, rule):
    faults = [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in rule(parse(path))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "rule, text, num_faults",
    [
        (find_statements_we_do_not_write, "assert x, 'said'", 1),
        (find_statements_we_do_not_write, "try:\n  f()\nexcept:\n  raise", 1),
        (find_statements_we_do_not_write, "try:\n  f()\nexcept OSError:\n  pass", 1),
        (find_statements_we_do_not_write, "for x in y:\n  try:\n    f()\n  except OSError:\n    continue", 1),
        (find_statements_we_do_not_write, "try:\n  f()\nexcept:\n  ...", 2),
        (find_statements_we_do_not_write, "eval('1')\nexec('2')", 2),
        (find_statements_we_do_not_write, "try:\n  model.eval()\nexcept OSError as error:\n  log(error)", 0),
        (find_missing_docstrings, "class A:\n  def f(self):\n    def g(): pass\ndef h(): pass", 4),
        (find_missing_docstrings, "'M.'\nclass A:\n  'A.'\n  def __init__(self): pass\ndef _h(): pass", 0),
        (find_missing_docstrings, "'M.'\nclass _A(B):\n  def override(self): pass", 0),
        (find_long_functions, "def f():\n" + "  pass\n" * 60, 1),
        (find_long_functions, "def f():\n" + "  pass\n" * 59, 0),
        (find_private_paddle, "from paddle.base import core", 1),
        (find_private_paddle, "from paddle import _C_ops", 1),
        (find_private_paddle, "paddle._C_ops.relu(x)", 2),
        (
            find_private_paddle,
            "import paddle.nn.functional as F\nfrom paddle import nn\npaddle.io.Dataset\npaddle.__version__",
            0,
        ),
        (find_empty_names, "class BaseModel: pass\nclass DataManager: pass", 2),
    ],
)
def test_rule_sees_the_fault_it_is_for(rule, text, num_faults):
    assert len(list(rule(ast.parse(text)))) == num_faults


def find_room(module):
    """Return the room of a module: its folder at the root, or its own name there."""
    return module.split(".")[0]


def find_rooms_below(room):
    """Return the rooms that a room may import, itself included."""
    if room in SCRIPTS:
        return {room, *SCRIPTS, *set().union(*FLOORS)} - {"tools"}
    floor = next(number for number, rooms in enumerate(FLOORS) if room in rooms)
    return {room, *set().union(*FLOORS[:floor]), *(SCRIPTS if room == "tools" else ())} - FORBIDDEN.get(room, set())


def is_without_paddle(module):
    """Whether a module, or the room that it is in, must do without Paddle."""
    return bool({module, find_room(module)} & WITHOUT_PADDLE)


@every_file
def test_imports_point_down(path):
    module = name_module(path)
    room = find_room(module)
    assert room in SCRIPTS.union(*FLOORS), f"{path.name} stands on no floor; give it one in test_floors.py"
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imported = [name for name in list_imports(parse(path), package) if name.split(".")[0] in PROJECT]
    upward = {name for name in imported if find_room(name) not in find_rooms_below(room)}
    assert not upward, f"{module} must not import {', '.join(sorted(upward))}"
    if is_without_paddle(module):
        assert "paddle" not in {name.split(".")[0] for name in list_imports(parse(path), package)}, module


def test_imports_are_found_wherever_they_stand():
    text = "import a.b as c\nfrom d.e import f\ndef g():\n  from . import h\n  from .i import j\n"
    assert list_imports(ast.parse(text), "models") == ["a.b", "d.e", "models.", "models.i"]


def test_floors_are_floors():
    assert "reader" not in find_rooms_below("models") and "models" not in find_rooms_below("reader")
    assert not {"models", "reader", "recipe"} & find_rooms_below("engine")
    assert find_rooms_below("common") == {"common"} and find_rooms_below("config") == {"config", "common"}
    rooms = set().union(*FLOORS)
    for upper in rooms:
        for lower in find_rooms_below(upper) & rooms - {upper}:
            assert upper not in find_rooms_below(lower), f"{upper} and {lower} may import each other"


def test_the_floors_of_the_guide_are_these():
    rows = re.findall(r"^\| (\d) \| (.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    floors = {int(number): set(re.findall(r"`(\w+)(?:/|\.py)`", rooms)) for number, rooms in rows}
    assert [floors[number] for number in range(1, len(FLOORS) + 1)] == FLOORS


@every_file
def test_file_is_not_too_long(path):
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MAX_FILE_LINES, f"{path.relative_to(ROOT)} has {num_lines} lines, at most {MAX_FILE_LINES}"


@every_file
def test_file_name_says_something(path):
    assert not re.search(r"util|misc|helper|common|base|manager", path.stem), f"{path.name}: name what it does"


# Run by another Python, in an empty folder: import one module after the other and tell what else changed.
WATCH = """
import contextlib, json, logging, os, random, signal, sys, threading, warnings
root, preload, modules = json.loads(sys.argv[1])
sys.path.insert(0, root)
sys.dont_write_bytecode = True
for name in preload:
    with contextlib.suppress(ImportError):
        __import__(name)

def look():
    seen = {
        "files in the working directory": sorted(os.listdir(".")),
        "signal handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "random's state": str(random.getstate()),
        "environment variables": dict(os.environ),
        "root logger": [logging.root.level, len(logging.root.handlers)],
        "warning filters": str(warnings.filters),
        "threads": threading.active_count(),
        "sys.path": sorted(set(sys.path)),
        "working directory": os.getcwd(),
    }
    if "numpy" in sys.modules:
        seen["numpy's random state"] = str([part if isinstance(part, (str, int, float)) else part.tobytes()
                                            for part in sys.modules["numpy"].random.get_state()])
    if "paddle" in sys.modules:
        paddle = sys.modules["paddle"]
        seen["Paddle's device or type"] = [paddle.get_device(), paddle.get_default_dtype()]
        # Paddle 3 shows an address among the numbers of the state.
        state = str(paddle.get_rng_state("cpu")[0]).split()
        seen["Paddle's random state"] = [number for number in state if not number.startswith("0x")]
    return seen

changes = []
for name in modules:
    before = look()
    __import__(name)
    after = look()
    changes += [f"{name} changes {what}" for what in before if before[what] != after[what]]
print("CHANGES", json.dumps({"changes": changes, "paddle": "paddle" in sys.modules}))
"""


def import_elsewhere(files, folder, root=ROOT):
    """Import `files` in another process that stands in `folder`; give what it printed and what WATCH saw."""
    # Other people's modules first: what those do at import is not ours to answer for.
    preload = set()
    for path in files:
        tree = parse(path)
        tree.body = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        preload |= {name for name in list_imports(tree, "models") if name.split(".")[0] not in PROJECT}
    order = json.dumps([str(root), sorted(preload), [name_module(path, root) for path in files]])
    command = [sys.executable, "-W", "ignore", "-c", WATCH, order]
    # Paddle sets this one at its first import, also for the children of a process that has imported it.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    child = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert child.returncode == 0, child.stderr
    printed, _, seen = child.stdout.rpartition("CHANGES ")
    return printed, json.loads(seen)


def test_importing_does_nothing_else(tmp_path):
    printed, seen = import_elsewhere(FILES, tmp_path)
    assert seen["changes"] == []
    assert printed == ""


def test_data_scripts_and_what_they_need_run_without_paddle(tmp_path):
    printed, seen = import_elsewhere([path for path in FILES if is_without_paddle(name_module(path))], tmp_path)
    assert seen["changes"] == []
    assert not seen["paddle"]
    assert printed == ""


@pytest.mark.parametrize(
    "text, change",
    [
        ("import os\nos.mkdir('output')", "files in the working directory"),
        ("import signal\nsignal.signal(signal.SIGTERM, print)", "signal handlers"),
        ("import random\nrandom.seed(0)", "random's state"),
        ("import numpy\nnumpy.random.seed(0)", "numpy's random state"),
        ("import paddle\npaddle.rand([3])", "Paddle's random state"),
        ("import paddle\npaddle.set_default_dtype('float64')", "Paddle's device or type"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=[9], daemon=True).start()", "threads"),
        ("import os\nos.environ['OMP_NUM_THREADS'] = '1'", "environment variables"),
        ("import logging\nlogging.basicConfig(filename=None)", "root logger"),
        ("import warnings\nwarnings.simplefilter('ignore', SyntaxWarning)", "warning filters"),
    ],
)
def test_a_side_effect_of_an_import_is_seen(text, change, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sinner.py").write_text(text + "\nprint('done')")
    printed, seen = import_elsewhere([tmp_path / "sinner.py"], tmp_path / "elsewhere", tmp_path)
    assert seen["changes"] == [f"sinner changes {change}"]
    assert printed == "done\n"
