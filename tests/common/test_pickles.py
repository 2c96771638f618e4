"""Hostile pickles of plain data: each is a few bytes, and refused before it takes memory or follows an address."""

import collections
import pickle
import pickletools
import resource
import struct

import numpy as np
import pytest

from common import pickles
from common.files import load_pickle
from common.text_files import show_value


def test_a_defaultdict_is_read_as_a_dict(tmp_path):
    content = collections.defaultdict(list, a=[1], b=collections.defaultdict(None, c=2))
    for protocol in (0, 2, 4):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
        found = load_pickle(tmp_path / "a.pkl")
        assert type(found) is dict and type(found["b"]) is dict and found == {"a": [1], "b": {"c": 2}}


class Call:
    """Pickles as a call of a function, and the state that the result is given."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def make_array(dtype, shape=(1,), data=bytes(8)):
    function, arguments, _ = np.zeros(1).__reduce__()
    return Call(function, *arguments, state=(1, shape, dtype, False, data))


def make_dtype(name, *state):
    return Call(np.dtype, name, False, True, state=state or None)


@pytest.fixture(autouse=True)
def limited_memory():
    """Let this process grow by 1 GiB at most."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


HOSTILE = {
    "object type": (make_array(make_dtype("O8")), "an array of type 'O8'; arrays of numbers or text are read"),
    "record type": (make_array(make_dtype("V8")), "an array of type 'V8'"),
    "fields in the state": (
        make_array(make_dtype("f8", 3, "<", None, ("a",), {"a": (np.dtype("f8"), 0)}, 8, 8, 63)),
        "an array with fields or subarrays",
    ),
    "subarray in the state": (
        make_array(make_dtype("f8", 3, "<", (np.dtype("f8"), (9,)), None, None, 8, 8, 0)),
        "fields",
    ),
    "byte order": (make_array(make_dtype("f8", 3, "x", None, None, None, -1, -1, 0)), "the byte order 'x'"),
    "shape above the bytes": (make_array(np.dtype("f8"), (10**12,)), "shape (1000000000000,) with 8 bytes"),
    "negative shape": (make_array(np.dtype("f8"), (-1, -1)), "not made of a shape, a type and bytes"),
    "no bytes": (make_array(np.dtype("f8"), (1,), [object]), "object', which plain data never needs"),
    "array by strides": (Call(np.ndarray, (10**6, 10**6), np.dtype("u1"), b"x" * 8, 0, (0, 0)), "not callable"),
    "large byte array": (Call(bytearray, 4 * 10**9), "builds a bytearray in a way that plain data never needs"),
    "large bytes": (Call(bytes, 4 * 10**9), "builds a bytes in a way"),
    "codec": (Call(bytearray, "x", "idna"), "encoding 'idna', expected latin1"),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_plain_data_is_refused(tmp_path, kind, protocol):
    value, message = HOSTILE[kind]
    (tmp_path / "hostile.pkl").write_bytes(pickle.dumps({"video": "v", "frames": value}, protocol=protocol))
    with pytest.raises(ValueError) as caught:
        load_pickle(tmp_path / "hostile.pkl")
    assert message in str(caught.value) and "hostile.pkl" in str(caught.value)


def share(kind):
    """Return 10**40 values in a small file; whoever makes an array of them waits for ever."""
    value = kind
    for _ in range(40):
        value = type(kind)([value] * 10)
    return value


def make_rings():
    ring = []
    ring += [ring, ring]
    return ring


MEMORY = {
    "memo index": (b"\x80\x02K\x01r\xff\xff\xff\x1f.", "a memo index of 536870911 after 3 opcodes"),
    "memo index as text": (b"I1\np999999999\n.", "a memo index of 999999999"),
    "text longer than the file": (b"X\xff\xff\xff\x7fab.", "it states 2147483647 bytes at 1 and ends before them"),
    "bytes longer than the file": (b"\x8e" + struct.pack("<Q", 2**40) + b".", "it states 1099511627776 bytes"),
    "byte array longer than the file": (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "it states"),
    "unknown opcode": (b"\xff.", "byte 255 at 0 is no opcode of a pickle"),
    "no end": (b"K\x01", "it is cut off"),
    "no end of a line": (b"cnumpy\nndarray", "it is cut off"),
    "copies": (
        pickle.dumps(b"x" * 10**4, 2)[:-1] + (b"0cbuiltins\nset\nq\x050h\x05(" + b"h\x05h\x01\x85R" * 200 + b"t."),
        "copies its values again and again",
    ),
    "shared lists": (pickle.dumps({"label": share([]), "frames": [1]}), "shares its values again and again"),
    "shared tuples": (pickle.dumps(share(())), "shares its values again and again"),
    "rings in rings": (pickle.dumps(make_rings()), "shares its values again and again"),
    "extension": (b"\x80\x02\x82\x01.", "it has the opcode EXT1, which data never needs"),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path, kind):
    data, message = MEMORY[kind]
    (tmp_path / "small.pkl").write_bytes(data)
    with pytest.raises(ValueError, match="small.pkl") as caught:
        load_pickle(tmp_path / "small.pkl")
    assert message in str(caught.value)


def test_opcodes_are_read_as_the_standard_library_does():
    values = {"a": [1, 2**70, -1.5, "x" * 300, b"y" * 300, None], "b": (np.arange(5), {3}, np.float32(1)), "c": ""}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickles.find_pickle_end(pickle.dumps(values, protocol))
        optimized = pickletools.optimize(pickle.dumps(values, protocol))
        assert pickles.find_pickle_end(b"xy" + optimized + b"more", 2) == 2 + len(optimized)
    with pytest.raises(EOFError):
        pickles.find_pickle_end(pickle.dumps(values, 4)[:-1])


def test_shared_and_ringed_containers_stay_so(tmp_path):
    array = np.arange(3)
    ring = [array, (array, [array])]
    ring.append(ring)
    (tmp_path / "ring.pkl").write_bytes(pickle.dumps(ring))
    loaded = load_pickle(tmp_path / "ring.pkl")
    assert loaded[2] is loaded and loaded[0] is loaded[1][0] is loaded[1][1][0] and loaded[0].tolist() == [0, 1, 2]
    loaded[0][0] = 7  # writable, as NumPy's own


def test_names_inside_are_looked_up_whole():
    names = {name for _, name in pickles.PLAIN_PARTS} | set(pickles.CONTAINERS)
    assert not names & {"eval", "exec", "getattr", "__import__", "open", "compile", "system", "object", "type"}


def test_a_value_is_shown_in_a_part_of_a_line():
    nested = "x"
    for _ in range(40):
        nested = [nested] * 9
    for value in (nested, "y" * 10**6, 10**6000, {"a": nested}, np.zeros(10**6)):
        assert len(show_value(value)) <= 60
    assert show_value(7) == "7" and show_value("a") == "'a'"
