"""Inputs that a command line names: what is searched, and what their outputs are called."""

import os

from inference import input_paths


def test_inputs_of_one_name_get_names_of_their_own(tmp_path):
    (tmp_path / "v1.5").mkdir()
    paths = ["a/x.avi", "b/x.avi", "b/X.mp4", "x_2.avi", str(tmp_path / "v1.5") + "/"]
    assert list(input_paths.name_outputs(paths)) == ["x", "x_2", "X_3", "x_2_2", "v1.5"]
    assert list(input_paths.name_outputs(paths).values()) == paths


def test_a_folder_that_is_an_input_is_not_searched(tmp_path):
    for name in ("b/x", "b/c/y", "a10", "a9", ".a", "out/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    os.symlink(tmp_path, tmp_path / "loop")

    def find(is_folder_input, is_file_input):
        found = input_paths.find_inputs([str(tmp_path), "none"], str(tmp_path / "out"), is_folder_input, is_file_input)
        return [os.path.relpath(path, tmp_path) for path in found[:-1]]

    assert find(lambda path: path.endswith("b"), lambda path: True) == ["a9", "a10", "b"]
    assert find(lambda path: path.endswith("c"), lambda path: "a" in os.path.basename(path)) == ["a9", "a10", "b/c"]
    assert find(lambda path: False, lambda path: False) == ["."]  # stands for itself


def test_links_to_folders_are_followed_and_each_folder_is_searched_once(tmp_path):
    for name in ("data/a/x", "elsewhere/y", "out/z"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    for target, link in (("elsewhere", "b"), ("elsewhere", "c"), ("data", "ring"), ("out", "earlier")):
        os.symlink(tmp_path / target, tmp_path / "data" / link)
    found = input_paths.find_inputs(
        [str(tmp_path / "data")], str(tmp_path / "out"), lambda path: False, lambda path: True
    )
    assert [os.path.relpath(path, tmp_path / "data") for path in found] == ["a/x", "b/y"]
