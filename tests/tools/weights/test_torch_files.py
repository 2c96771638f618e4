"""Files of PyTorch: what was saved is read, nothing in a file runs, and a damaged file says so."""

import argparse
import builtins
import copyreg
import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections import Counter

import fake_torch
import numpy as np
import pytest
from fake_torch import Parameter, Storage, Tensor, tensor, write_legacy, write_safetensors, write_zip
from paths import ROOT

from tools.weights.torch_files import read_torch_file
from tools.weights.torch_pickle import Placeholder

WRITERS = {"zip": write_zip, "legacy": write_legacy}
both_formats = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
NUMBERS = np.arange(24, dtype=np.float32)


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth", "torch.safetensors"])
def test_files_that_pytorch_wrote(name):
    # PyTorch 2.13 and safetensors 0.8.0; weight_t is weight.permute(2, 0, 1) and shares its storage where a file can
    content = read_torch_file(ROOT / "tests" / "data" / name)
    if name.endswith("pth"):
        assert list(content) == ["epoch", "arch", "state_dict", "optimizer", "args"]
        assert (content["epoch"], content["arch"], content["args"].source) == (3, "resnet-18", "argparse.Namespace")
        assert content["optimizer"]["param_groups"][0]["momentum"] == 0.9
        content = content["state_dict"]
        assert list(content)[:2] == ["conv.weight", "conv.weight_t"]
    weight = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    expected = {"conv.weight": weight, "conv.weight_t": weight.transpose(2, 0, 1), "steps": np.int64(7)}
    expected |= {"half": np.float16([0.5, -2]), "brain": np.float32([1.5, -3])}
    expected |= {"fc.weight": np.float32([[0, 1], [2, 3], [4, 5]]), "fc.bias": np.float32([1, 2, 3])}
    assert set(content) == set(expected)
    for key, value in expected.items():
        assert content[key].dtype == value.dtype and content[key].shape == value.shape
        np.testing.assert_array_equal(content[key], value, err_msg=key)


@both_formats
@pytest.mark.parametrize("kind", fake_torch.KINDS)
def test_every_type_of_number(tmp_path, write, kind):
    values = np.array([[0, 1, 1], [1, 0, 100]]).astype(kind)
    loaded = read_torch_file(write(tmp_path / "a.pth", {"x": tensor(values)}))["x"]
    assert loaded.dtype == values.dtype
    np.testing.assert_array_equal(loaded, values)


@both_formats
def test_bfloat16_becomes_float32(tmp_path, write):
    halves = np.array([0x3FC0, 0xC040, 0x0001, 0x7F80], np.uint16)  # 1.5, -3, the smallest one, infinity
    loaded = read_torch_file(write(tmp_path / "a.pth", tensor(halves, kind="BFloat16Storage")))
    assert loaded.dtype == np.float32 and loaded.tolist() == [1.5, -3.0, 2.0**-133, np.inf]
    assert not loaded.flags.writeable


@both_formats
def test_tensors_are_the_views_that_they_were(tmp_path, write):
    storage = Storage(NUMBERS, place="cuda:0")
    content = {
        "whole": Tensor(storage, (4, 6)),
        "turned": Tensor(storage, (6, 4), (1, 6)),
        "part": Tensor(storage, (2, 3), (12, 2), offset=7),
        "number": Tensor(storage, (), offset=23),
        "none": Tensor(storage, (0, 3), offset=5),
        "old": Tensor(storage, (24,), rebuild=fake_torch._rebuild_tensor),
        "parameter": Parameter(Tensor(storage, (2,))),
    }
    loaded = read_torch_file(write(tmp_path / "a.pth", content))
    square = NUMBERS.reshape(4, 6)
    expected = {"whole": square, "turned": square.T, "part": np.float32([[7, 9, 11], [19, 21, 23]])}
    expected |= {"number": np.float32(23), "none": np.zeros((0, 3), np.float32), "old": NUMBERS}
    expected |= {"parameter": np.float32([0, 1])}
    for key, value in expected.items():
        assert loaded[key].shape == value.shape
        np.testing.assert_array_equal(loaded[key], value, err_msg=key)
    assert np.shares_memory(loaded["whole"], loaded["turned"])
    with pytest.raises(ValueError, match="read-only"):
        loaded["whole"][0] = 1  # the others would change with it


def test_a_storage_that_is_a_part_of_another(tmp_path):
    whole = Storage(NUMBERS)
    part = Storage(NUMBERS[4:10], part=(whole, 4))
    content = [Tensor(whole, (24,)), Tensor(part, (2, 3))]
    loaded = read_torch_file(write_legacy(tmp_path / "a.pth", content))
    np.testing.assert_array_equal(loaded[1], NUMBERS[4:10].reshape(2, 3))


def test_what_only_old_files_hold(tmp_path):
    text, storages = fake_torch.pickle_content(tensor(NUMBERS), is_legacy=True)
    text = text.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")  # PyTorch before 0.4
    (tmp_path / "a.pth").write_bytes(fake_torch.join_legacy(text, storages))
    np.testing.assert_array_equal(read_torch_file(tmp_path / "a.pth"), NUMBERS)
    text = opcodes(b"(Vmodule\ncnets\nNet\nVnets.py\nVclass Net: ...\ntQ)R")  # a network with its source code
    (tmp_path / "b.pth").write_bytes(fake_torch.join_legacy(text, {}))
    assert read_torch_file(tmp_path / "b.pth").source == "nets.Net"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_any_folder_byte_order_and_compression(tmp_path, order, compression):
    path = write_zip(tmp_path / "a.pth", [tensor(NUMBERS)], "r3d50 K_200ep/x", order, compression)
    (loaded,) = read_torch_file(path)
    assert loaded.dtype == NUMBERS.dtype
    np.testing.assert_array_equal(loaded, NUMBERS)


def test_safetensors(tmp_path):
    arrays = {kind: np.array([[0, 1], [1, 100]]).astype(kind) for kind in fake_torch.SAFETENSORS_NAMES}
    arrays |= {"brain": np.array([0x3FC0], np.uint16), "number": np.float32(3), "none": np.zeros((0, 2), np.float32)}
    loaded = read_torch_file(write_safetensors(tmp_path / "a.safetensors", arrays, {"brain": "BF16"}))
    assert list(loaded) == list(arrays)
    assert loaded.pop("brain").tolist() == [1.5]
    for key, value in loaded.items():
        assert value.dtype == arrays[key].dtype and value.shape == arrays[key].shape
        np.testing.assert_array_equal(value, arrays[key], err_msg=key)


class Options(dict):
    """Stands for the options of trainers: a dictionary with attributes."""


@both_formats
def test_objects_of_other_classes_are_placeholders(tmp_path, write):
    options = Options(depth=50)
    options.more = [1]
    content = {"args": argparse.Namespace(lr=0.1), "options": options, "milestones": Counter([50, 50]), "after": 1}
    content |= {"best": np.float64(0.5), "function": os.system, "class": Options, "table": np.arange(3), "size": {1, 2}}
    loaded = read_torch_file(write(tmp_path / "a.pth", content))
    sources = {key: value.source for key, value in loaded.items() if key != "after"}
    core = np.arange(1).__reduce__()[0].__module__
    assert sources.pop("best") == f"{core}.scalar" and sources.pop("table") == f"{core}._reconstruct"
    assert sources == {
        "args": "argparse.Namespace",
        "options": f"{__name__}.Options",
        "milestones": "collections.Counter",
        "function": "posix.system",
        "class": f"{__name__}.Options",
        "size": "__builtin__.set",
    }
    assert loaded["after"] == 1
    assert isinstance(loaded["args"], Placeholder) and not vars(loaded["args"]) and not vars(loaded["options"])


class Hostile:
    """Pickled as any call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


class Touchy:
    """Touches the file that it is made with, or given as a state or item.

    Args:
        reduced: what its pickle says, as `__reduce__` returns it.
    """

    def __new__(cls, path=None):
        if path is not None:
            open(path, "w").close()
        return super().__new__(cls)

    def __setstate__(self, path):
        open(path, "w").close()

    def __setitem__(self, key, path):
        open(path, "w").close()

    def __reduce_ex__(self, protocol):
        return self.reduced


def touchy(*reduced):
    made = Touchy()
    made.reduced = reduced
    return made


HOSTILE = {  # what makes the file `mark` when it is loaded as pickle.load does
    "system": lambda mark: Hostile(os.system, (f"touch {mark}",)),
    "eval": lambda mark: Hostile(builtins.eval, (f"open({mark!r}, 'w')",)),
    "making": lambda mark: touchy(Touchy, (mark,)),
    "new": lambda mark: touchy(copyreg.__newobj__, (Touchy, mark)),
    "state": lambda mark: touchy(Touchy, (), mark),
    "items": lambda mark: touchy(Touchy, (), None, None, iter([("key", mark)])),
    "a key": lambda mark: {Hostile(os.system, (f"touch {mark}",)): 1},
    "a reference": lambda mark: Tensor(Storage(NUMBERS, place=Hostile(os.system, (f"touch {mark}",))), (24,)),
}


@both_formats
@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_file_runs(tmp_path, write, attack):
    mark = tmp_path / "it_ran"
    content = {"state_dict": {"x": tensor(NUMBERS)}, "more": attack(str(mark))}
    loaded = read_torch_file(write(tmp_path / "a.pth", content))
    np.testing.assert_array_equal(loaded["state_dict"]["x"], NUMBERS)
    assert not mark.exists()


@pytest.mark.parametrize("attack", [name for name in HOSTILE if name != "a reference"])
def test_the_attacks_are_real(tmp_path, attack):
    mark = tmp_path / "it_ran"
    pickle.loads(pickle.dumps(HOSTILE[attack](str(mark)), protocol=2))
    assert mark.exists()


def opcodes(*parts):
    """Join the bytes of a pickle by hand: protocol 2, then the parts."""
    return b"\x80\x02" + b"".join(parts) + b"."


TEXTS = {  # the same by hand, with opcodes that no pickler writes any more
    "INST": opcodes(b"(Vtouch it_ran\niposix\nsystem\n"),
    "OBJ": opcodes(b"(c__builtin__\nopen\nVit_ran\nVw\no"),
    "a dotted name": opcodes(b"\x8c\x02os\x8c\x06system\x93Vtouch it_ran\n\x85R"),
    "a function of its own making": opcodes(
        b"cbuiltins\ngetattr\ncbuiltins\n__import__\nVos\n\x85RVsystem\n\x86RVtouch it_ran\n\x85R"
    ),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nothing_runs_by_other_opcodes(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(fake_torch.join_legacy(text, {}))
    fake_torch.write_records(tmp_path / "b.pth", {"a/data.pkl": text})
    for name in ("a.pth", "b.pth"):
        assert isinstance(read_torch_file(name), Placeholder)
    assert not (tmp_path / "it_ran").exists()


def test_nothing_is_imported(tmp_path):
    path = fake_torch.write_records(tmp_path / "a.pth", {"a/data.pkl": opcodes(b"cantigravity\nfly\n)R")})
    assert read_torch_file(path).source == "antigravity.fly" and "antigravity" not in sys.modules


PARTS = [
    b"torch._utils\n_rebuild_tensor_v2",
    b"torch._utils\n_rebuild_parameter",
    b"torch\nSize",
    b"torch\nFloatStorage",
]


@pytest.mark.parametrize(
    "part", [*PARTS, b"collections\nOrderedDict"], ids=lambda part: part.decode().replace("\n", ".")
)
@pytest.mark.parametrize("name", [b"__defaults__", b"__call__", b"__setstate__", b"any"], ids=bytes.decode)
@pytest.mark.parametrize("state", [b"}V%s\nK\x01K\x02\x86sb", b"N}V%s\nK\x01K\x02\x86s\x86b"], ids=["dict", "slots"])
def test_a_file_cannot_change_what_reads_the_next_one(tmp_path, part, name, state):
    (tmp_path / "a.pth").write_bytes(fake_torch.join_legacy(opcodes(b"c", part, b"\n", state % name), {}))
    with pytest.raises(ValueError, match="a.pth' .* is damaged or cut off .(Attribute|Type)Error"):
        read_torch_file(tmp_path / "a.pth")


def test_an_attribute_cannot_stand_in_for_a_method(tmp_path):
    text = opcodes(b"ccollections\nOrderedDict\n)RVx\nK\x01s}Vitems\nNsb")  # OrderedDict(x=1), its items = None
    path = fake_torch.write_records(tmp_path / "a.pth", {"a/data.pkl": text})
    assert list(read_torch_file(path).items()) == [("x", 1)]


def claim(kind="FloatStorage", key="0", count=24, offset=0, size=(24,), stride=(1,)):
    """A pickle of a tensor whose storage says `count`, with opcodes that no other writer of the tests makes."""
    with fake_torch.torch_names() as torch:
        storage_type = getattr(torch, kind)

        class Pickler(pickle.Pickler):
            def persistent_id(self, value):
                return ("storage", storage_type, key, "cpu", count) if value == "here" else None

        file = io.BytesIO()
        Pickler(file, protocol=2).dump(Hostile(fake_torch._rebuild_tensor, ("here", offset, size, stride)))
    return file.getvalue()


HUGE = 2**40
CLAIMS = [
    ({"count": HUGE, "size": (HUGE,)}, "record 'a/data/0' has 96 bytes, its tensors need 4398046511104"),
    ({"kind": "DoubleStorage"}, "has 96 bytes, its tensors need 192"),
    ({"size": (25,)}, "of size (25,), stride (1,) from element 0 of a storage of 24; it is damaged, or was expanded"),
    ({"offset": 1}, "from element 1 of a storage of 24"),
    ({"size": (4, 6), "stride": (7, 1)}, "stride (7, 1) from element 0"),
    ({"size": (HUGE, HUGE), "stride": (0, 0)}, "stride (0, 0) from element 0 of a storage of 24"),
    ({"offset": -1}, "a size of -1, expected a whole number from 0"),
    ({"size": (2,), "stride": (-1,)}, "a size of -1"),
    ({"count": -24}, "a size of -24"),
    ({"size": ("24",)}, "a size of '24'"),
    ({"size": (4, 6)}, "zip() argument 2 is shorter"),
    ({"key": "../../etc/passwd"}, "is damaged or cut off (KeyError)"),
    ({"kind": "QInt8Storage"}, "a storage of type torch.QInt8Storage; known are DoubleStorage, FloatStorage"),
]


@pytest.mark.parametrize("changes, message", CLAIMS, ids=[str(changes) for changes, _ in CLAIMS])
def test_claims_beyond_the_file_are_refused_without_making_room_for_them(tmp_path, changes, message):
    records = {"a/data.pkl": claim(**changes), "a/data/0": NUMBERS.tobytes()}
    path = fake_torch.write_records(tmp_path / "a.pth", records)
    with pytest.raises(ValueError) as caught:
        read_and_measure(path)
    assert message in str(caught.value) and f"'{path}' (" in str(caught.value)


def test_legacy_claims_are_refused_too(tmp_path):
    for changes, message in [
        ({"count": HUGE, "size": (HUGE,)}, "storage '0' has 24 elements, 1099511627776 were announced"),
        ({"count": 25}, "has 24 elements, 25 were announced"),
        ({"kind": "DoubleStorage"}, "the file ends 96 bytes before them"),
        ({"kind": "ByteStorage"}, "72 bytes are left over"),
        ({"offset": 1}, "from element 1 of a storage of 24"),
        ({"key": "1"}, "damaged or cut off (KeyError)"),
    ]:
        text = claim(**changes)
        (tmp_path / "a.pth").write_bytes(fake_torch.join_legacy(text, {"0": Storage(NUMBERS)}))
        with pytest.raises(ValueError) as caught:
            read_and_measure(tmp_path / "a.pth")
        assert message in str(caught.value), changes


def test_a_storage_that_says_two_things_is_refused(tmp_path):
    one, other = Storage(NUMBERS), Storage(NUMBERS.astype(np.int32))
    other.key = one.key
    for write, message in ((write_zip, "is of two types; it is damaged"), (write_legacy, "of two types or sizes")):
        with pytest.raises(ValueError, match=message):
            read_torch_file(write(tmp_path / "a.pth", [Tensor(one, (24,)), Tensor(other, (24,))]))
    data = bytearray(write_legacy(tmp_path / "a.pth", tensor(NUMBERS)).read_bytes())
    data[-24 * 4 - 8] = 23  # the number of elements before the storage itself
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ValueError, match="has 23 elements, 24 were announced"):
        read_torch_file(tmp_path / "a.pth")


def test_safetensors_that_share_bytes_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = write_safetensors(tmp_path / "a.safetensors", {"x": NUMBERS[:4]}, y=entry)
    with pytest.raises(ValueError, match="'y' of shape .4. stands in bytes 0 to 16 of 16, behind byte 16"):
        read_torch_file(path)


def read_and_measure(path, most_bytes=8_000_000):
    """Read a file; it may not take more memory than a small file needs."""
    tracemalloc.start()
    try:
        return read_torch_file(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most_bytes


@pytest.mark.parametrize(
    "text, message",
    [
        (opcodes(b"Nr\x00\x00\x00\x7f"), "it has a memo index of 2130706432"),  # LONG_BINPUT
        (opcodes(b"B\x00\x00\x00\x7f"), "it states 2130706432 bytes"),  # BINBYTES
        (b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b".", "it states 1099511627776 bytes"),  # BYTEARRAY8
        (opcodes(b"\x82\x01"), "it has the opcode EXT1"),
        (opcodes(b"X\x01\x00\x00\x00aQ"), "a reference to 'a' instead of a storage"),  # BINPERSID
        (opcodes(b"]", 40 * b"q\x00h\x00h\x00\x86", b"Q"), "a reference to tuple instead of a storage"),
        (opcodes(b"(Vstorage\nVf4\nK\x00Vcpu\nK\x01tQ"), "a storage called 0, expected a text"),
        (opcodes(b"(Vstorage\n]V0\nVcpu\nK\x01tQ"), "a storage of type list; known are DoubleStorage"),
        (b"", "(it is cut off)"),
    ],
)
def test_pickles_that_would_fill_the_memory_or_say_nonsense(tmp_path, text, message):
    path = fake_torch.write_records(tmp_path / "a.pth", {"a/data.pkl": text})
    with pytest.raises(ValueError) as caught:
        read_and_measure(path)
    assert message in str(caught.value)


def test_an_archive_that_unpacks_to_a_hundredfold_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.pth", tensor(np.zeros(30_000_000, np.int8)), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="it would unpack to more than 100 times its size; do not use the file"):
        read_and_measure(path)


LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
OTHER_FILES = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer, not the"),
    "page": (b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan", "a web page, not weights: the link"),
    "empty": (b"", "neither a file of torch.save nor .safetensors; it is cut off"),
    "picture": (b"\x89PNG\r\n", "neither a file of torch.save nor .safetensors"),
    "tar": (b"storages".ljust(257, b"\0") + b"ustar\x00", "a tar file, as PyTorch wrote before 0.2"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle, but not one of torch.save; Paddle's own .pdparams need no"),
    "beginning": (LEGACY_START, "(it is cut off)"),
    "header": (struct.pack("<Q", 2) + b"{}x", "1 bytes belong to no tensor"),
}


@pytest.mark.parametrize("content, message", OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_told_apart(tmp_path, content, message):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_torch_file(tmp_path / "a.pth")
    assert f"a.pth' ({len(content)} bytes)" in str(caught.value) and message in str(caught.value)


def test_archives_of_other_things_and_missing_files(tmp_path):
    fake_torch.write_records(tmp_path / "a.zip", {"weights/a.pth": b""})
    with pytest.raises(ValueError, match="a zip archive with 0 'data.pkl', expected 1; unpack it"):
        read_torch_file(tmp_path / "a.zip")
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist or is no file; check the path"):
            read_torch_file(path)


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"shape": [5]}, "'x' of shape [5] stands in bytes 0 to 16 of 16, behind byte 0; it is damaged or cut off"),
        ({"data_offsets": [0, 2**62], "shape": [2**60]}, "stands in bytes 0 to 4611686018427387904 of 16"),
        ({"data_offsets": [4, 20]}, "stands in bytes 4 to 20 of 16"),
        ({"data_offsets": [0, 12], "shape": [3]}, "4 bytes belong to no tensor"),
        ({"shape": [-4]}, "a size of -4"),
        ({"dtype": "F8_E4M3"}, "'x' is of type 'F8_E4M3'; known are F64, F32"),
        ({"shape": None}, "damaged or cut off (TypeError"),
    ],
)
def test_safetensors_whose_header_does_not_fit(tmp_path, entry, message):
    good = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    path = write_safetensors(tmp_path / "a.safetensors", {"x": NUMBERS[:4]}, x={**good, **entry})
    with pytest.raises(ValueError) as caught:
        read_and_measure(path)
    assert message in str(caught.value)


def same(one, other):
    """Whether two contents are the same, tensors and placeholders included."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Placeholder):
        return isinstance(other, Placeholder) and one.source == other.source
    return type(one) is type(other) and np.array_equal(one, other) and np.shape(one) == np.shape(other)


DAMAGED = {"zip": ("torch_zip.pth", True), "legacy": ("torch_legacy.pth", False), "st": ("torch.safetensors", False)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name, has_checksums", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_an_error_or_does_no_harm(tmp_path, name, has_checksums):
    source = ROOT / "tests" / "data" / name
    whole, expected, rng = source.read_bytes(), read_torch_file(source), np.random.default_rng(0)
    path, num_refused = tmp_path / "a.pth", 0
    for size in rng.integers(0, len(whole), 200):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="a.pth"):
            read_torch_file(path)
    tracemalloc.start()
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            loaded = read_torch_file(path)
            assert same(loaded, expected) or not has_checksums
        except ValueError as error:
            num_refused += 1
            assert "a.pth' (" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    assert num_refused > 100
