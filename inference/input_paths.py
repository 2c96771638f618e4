"""The inputs that a command line names, files or folders of them, and what their outputs are called."""

import os
from collections.abc import Callable

from dataset.records import natural_order


def find_inputs(paths: list, save_dir: str, is_folder_input: Callable, is_file_input: Callable) -> list:
    """Return the inputs below `paths`; a path without any is returned itself, so that an error can name it.

    Args:
        paths: of files and folders; what is below a folder comes in natural order, hidden files are left out. Links
            are followed, each folder once, as in `media.walk`.
        save_dir: not searched, because earlier outputs lie there.
        is_folder_input: whether the folder of a path is one input, such as a folder of frames.
        is_file_input: whether the file of a path is an input.
    """
    found = []
    for path in paths:
        inputs = []
        if os.path.isdir(path):
            inputs = _search_folder(path, {os.path.realpath(save_dir)}, is_folder_input, is_file_input)
        found += inputs or [path]
    return found


def _search_folder(folder: str, seen: set, is_folder_input: Callable, is_file_input: Callable) -> list:
    """Search a folder, unless its real path is in `seen`, to which it is added."""
    seen.add(os.path.realpath(folder))
    if is_folder_input(folder):
        return [folder]
    found = []
    for name in sorted(os.listdir(folder), key=natural_order):
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if not os.path.isdir(path):
            found += [path] if is_file_input(path) else []
        elif os.path.realpath(path) not in seen:  # a link may lead in a circle
            found += _search_folder(path, seen, is_folder_input, is_file_input)
    return found


def name_outputs(paths: list) -> dict:
    """Return {name of the output: path}; of several inputs with one name, the later ones are numbered."""
    bases = [os.path.basename(os.path.abspath(path)) for path in paths]
    stems = [
        base if os.path.isdir(path) else os.path.splitext(base)[0] for base, path in zip(bases, paths, strict=True)
    ]
    return dict(zip(number_names(stems), paths, strict=True))


def number_names(stems: list) -> list:
    """Return a name for each stem, in which later ones of the same stem, in whatever case, have a number."""
    names, taken = [], set()
    for stem in stems:
        name, number = stem, 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names
