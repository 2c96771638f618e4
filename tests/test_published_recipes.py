"""Every value of every config against what its paper and official repository state."""

import copy
import hashlib
import inspect
import json

import pytest
from contract import read_header, resolve
from paths import ROOT
from published_parts import CLIPS, OURS, OWN, SOMETHING_MIRRORED
from published_recipes import RECIPES, find_published

import recipe
from config import load_config
from dataset.annotations import pair_mirrored_classes, read_class_names
from engine.optimizer import Schedule

MODES = ("TRAIN", "VALID", "TEST")
NAMES = sorted(path.name for path in (ROOT / "configs").iterdir())
TRAINING_KEYS = {
    "augment", "crop", "crop_area", "crop_aspect", "flip_ratio", "flip_label_map", "color_jitter", "erasing_ratio",
    "erasing_area", "rotation", "scale", "bone_scale", "shear", "noise", "noise_base", "noise_shared",
    "random_move", "random_shift",
    "repeat", "min_crop_len", "joint_drop_ratio", "frame_drop_ratio", "intra_ratio", "inter_ratio", "augmentations",
    "dropped_joints",
}  # fmt: skip
EVALUATION_KEYS = {"protocol", "test_clips", "num_clips", "crops", "flip", "scales"}
CONFIGS = {name: load_config(str(ROOT / "configs" / name)) for name in NAMES}


def is_read(mode, key):
    return key not in (EVALUATION_KEYS if mode == "TRAIN" else TRAINING_KEYS)


def is_ours(place):
    return place in OURS or place.split(".")[1] in OURS


def spread(values):
    """Let what is said of READER hold for the three modes that read it, where they do not say otherwise."""
    spread_out = {}
    for place, value in values.items():
        section, key = place.split(".")
        for mode in MODES if section == "READER" else (section,):
            if mode not in MODES or is_read(mode, key):
                spread_out[f"{mode}.{key}"] = values.get(f"{mode}.{key}", value)
    return spread_out


def list_effective(config):
    """Return every value of a resolved config as what is built from it takes it, by place."""
    sections = {section: config[section] for section in ("MODEL", "OPTIMIZER", "RUN")}
    for mode in MODES:
        merged = {**config["READER"], **config[mode]}
        sections[mode] = {key: value for key, value in merged.items() if is_read(mode, key)}
    found = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    return {place: value for place, value in found.items() if not is_ours(place)}


def find_differences(name, text):
    """Return {place: (ours, published)} of a config's text; what one of them does not have is `missing`."""
    published = {place: value for place, value in spread(find_published(name)[0]).items() if not is_ours(place)}
    found = list_effective(recipe.resolve(copy.deepcopy(text), name))
    held = {place for place in found if not place.startswith("MODEL.") or place.split(".")[1] in text["MODEL"]}
    both = sorted(held | published.keys())
    values = {place: (normalize(found.get(place, "missing")), published.get(place, "missing")) for place in both}
    return {place: pair for place, pair in values.items() if pair[0] != pair[1]}


def normalize(value):
    """Turn a default, which signatures write as a tuple, into a list as texts have it, and labels into numbers."""
    if isinstance(value, dict):
        return {int(label): other for label, other in value.items()}
    return list(value) if isinstance(value, tuple) else value


def digest(text):
    """Return a fingerprint of the values of a text, but for those that no publication could have."""
    values = {f"{section}.{key}": normalize(value) for section, keys in text.items() for key, value in keys.items()}
    held = {place: value for place, value in values.items() if not is_ours(place)}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:12]


def change(value):
    """Return another value of the same type, as near as a slip of the pen."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 2 if value else 0.5
    if isinstance(value, list):
        return [*value[:-1], change(value[-1])] if value else [1]
    if isinstance(value, dict):
        return dict(list(value.items())[:-1])
    return f"{value}x"


def list_changes(text):
    """List the texts of which one value is another one, with the place of it."""
    changes = []
    for section, keys in text.items():
        for key, value in keys.items():
            changed = copy.deepcopy(text)
            changed[section][key] = change(value)
            changes.append((f"{section}.{key}", changed))
    return changes


@pytest.mark.parametrize("name", NAMES)
def test_the_config_has_the_published_values(name):
    if name in OWN:
        assert digest(CONFIGS[name]) == OWN[name], "measure the figure beside the config again, then note these values"
        return
    assert find_differences(name, CONFIGS[name]) == {}, f"(ours, published) by {find_published(name)[1]}"


def test_every_config_is_in_the_table_once():
    assert sorted([*RECIPES, *OWN]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_any_value_is_seen(name):
    unseen = []
    for place, changed in list_changes(CONFIGS[name]):
        if is_ours(place):
            continue
        try:
            is_seen = digest(changed) != OWN[name] if name in OWN else bool(find_differences(name, changed))
        except ValueError:  # not a value at all
            is_seen = True
        if not is_seen:
            unseen.append(place)
    assert unseen == []


@pytest.mark.parametrize("name", RECIPES)
def test_where_a_config_differs_on_purpose_its_comment_says_so(name):
    comment = " ".join(read_header(name).replace("#", " ").split())
    for key, (value, words) in find_published(name)[2].items():
        assert words in comment and RECIPES[name][0].get(key, CLIPS.get(key)) != value, key


def test_keys_that_no_publication_has_are_named_with_a_reason():
    known = {key for name in NAMES for keys in resolve(name).values() for key in keys}
    for place, reason in OURS.items():
        assert place.split(".")[-1] in known and len(reason) > 4


WARMED_UP = ("ctrgcn_ntu60_xsub", "ctrgcn_nw_ucla", "infogcn_ntu60_xsub", "infogcn_nw_ucla")


@pytest.mark.parametrize("name", WARMED_UP)
def test_the_warm_up_has_the_rates_of_the_authors(name):
    """Chen et al., main.py: base_lr * (epoch + 1) / warm_up_epoch, of which there are five."""
    section = resolve(f"{name}.yaml")["OPTIMIZER"]
    keys = inspect.signature(Schedule).parameters
    given = {key: value for key, value in section.items() if key in keys}
    schedule = Schedule(batch_size=section["base_batch_size"], epochs=65, steps_per_epoch=7, **given)
    rates = [schedule.value(epoch, step) for epoch in range(6) for step in (0, 6)]
    expected = [0.02, 0.02, 0.04, 0.04, 0.06, 0.06, 0.08, 0.08, 0.1, 0.1, 0.1, 0.1]
    assert rates == pytest.approx(expected, rel=1e-12)


CLASS_FILES = {"sthv1": "something_v1.txt", "sthv2": "something_v2.txt"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").iterdir()), ids=lambda path: path.name)
def test_mirrored_clips_get_the_labels_of_their_own_data_set(path):
    given = normalize(resolve(path.name)["TRAIN"].get("flip_label_map"))
    data = [data for data in CLASS_FILES if data in path.name]
    assert given == (SOMETHING_MIRRORED[data[0]] if data else None)
    if data:
        names = read_class_names(str(ROOT / "splits" / CLASS_FILES[data[0]]))
        assert given == pair_mirrored_classes(names)
