"""The skeleton pkl itself, as PYSKL and MMAction2 publish it: checked sample by sample, and written again.

`{"split": {name: [frame_dir]}, "annotations": [{"frame_dir", "label", "total_frames", "keypoint": (M, T, V, C),
"keypoint_score", "img_shape", "original_shape"}]}`. Arrays keep their float16.
"""

import argparse
from collections import Counter

from common.files import load_pickle
from common.text_files import show_value
from dataset.raw_skeletons.class_folders import find_class_names
from dataset.raw_skeletons.samples import EmptyBodiesError, RawSample, RawSet, make_annotation
from dataset.skeleton_checks import MAX_VALUE, check_annotation, check_class_names

LAYOUTS = {(17, 2): "coco17", (25, 3): "ntu25", (20, 3): "ucla20"}


def find_samples(args: argparse.Namespace) -> RawSet:
    """Read and check all samples of the file `args.raw`.

    Raises:
        ValueError: no pkl of that form.
    """
    content = read_content(args.raw)
    samples, annotations, failed, skipped, known = [], [], {}, {}, set()
    for index, raw in enumerate(content["annotations"]):
        name = raw.get("frame_dir") if isinstance(raw, dict) else None
        if not isinstance(name, str) or not name:
            skipped[f"annotation {index}"] = "it has no frame_dir, its name"
            continue
        if name in known:
            skipped[f"annotation {index}"] = f"the sample {name} comes twice"
            continue
        known.add(name)
        samples.append(RawSample(name, args.raw, index=index))
        try:
            annotations.append(check_sample(raw, samples[-1]))
        except EmptyBodiesError as error:
            failed[name] = ("empty", str(error))
        except ValueError as error:
            failed[name] = ("damaged", str(error))
    splits = content["split"]
    for split, names in splits.items():
        skipped.update(
            {f"{split}: {name}": "the split names it, but it has no annotation" for name in set(names) - known}
        )
        counts = Counter(names)
        skipped.update({f"{split}: {name}": "the split names it again" for name in counts if counts[name] > 1})
    splits = {split: list(dict.fromkeys(names)) for split, names in splits.items()}
    class_names = (find_class_names(args) if args.classes else None) or check_class_names(
        f"'{args.raw}'", content.get("class_names")
    )
    layout = args.layout or content.get("layout") or (find_layout(annotations[0]) if annotations else None)
    return RawSet(samples, splits, class_names, layout, skipped, annotations=annotations, failed=failed)


def read_content(path: str) -> dict:
    """Read the file; its splits are lists of names, its annotations a list of whatever.

    Raises:
        ValueError: no pkl of that form.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise ValueError(f"'{path}' is no dict of 'split' and 'annotations'; give a pkl of PYSKL or MMAction2")
    splits = content.get("split") if isinstance(content.get("split"), dict) else {}
    for split, names in splits.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"'{path}': split {show_value(split)} is no list of names; make the file again")
    return {**content, "split": splits}


def find_layout(annotation: dict) -> str | None:
    """Return the layout by joints and coordinates, where there is only one; 18 or 25 2-D points need --layout."""
    return LAYOUTS.get(annotation["keypoint"].shape[2:])


def check_sample(raw: dict, sample: RawSample) -> dict:
    """Check one annotation and return it."""
    annotation = check_annotation(f"'{sample.path}' annotation {sample.index} ({sample.name})", raw)
    score = annotation.get("keypoint_score")
    more = {} if score is None else {"keypoint_score": score}
    sizes = {"img_shape": annotation.get("img_shape")}
    make_annotation(sample, None, annotation["keypoint"], MAX_VALUE, **more, **sizes)  # for its checks
    return annotation
