"""Golden vectors: weights and input are the ones that the authors' networks had."""

import numpy as np
import pytest

from tools.golden import vectors


@pytest.mark.parametrize("name", ["r3d_resnet10_B_conv1t3_cls400", "r3d_resnet18_A"])
def test_weights_and_input_are_drawn_by_the_rule_of_the_files(name):
    reference = vectors.load(name)
    weights = vectors.draw_weights(reference, reference["weights_rule"]["gain"])
    assert list(weights) == list(reference["state"])
    for key, values in reference["weights_rule"]["check"].items():
        np.testing.assert_allclose(weights[key].ravel()[:3], values, rtol=1e-6)
    first = vectors.draw_input(reference).ravel()[:4]
    np.testing.assert_allclose(first, reference["input"]["check"]["first4"], rtol=1e-6)


def test_gain_is_the_variance_of_tensors_with_two_axes_or_more():
    reference = {"state": {"a.weight": [50, 40, 3], "a.bias": [50], "bn.weight": [50]}}
    one, two = (vectors.draw_weights(reference, gain) for gain in (1.0, 2.0))
    assert one["a.weight"].var() * 120 == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(two["a.weight"], np.sqrt(2) * one["a.weight"], rtol=1e-6)
    for name in ("a.bias", "bn.weight"):
        np.testing.assert_array_equal(two[name], one[name])


def test_a_file_may_scale_the_tensors_with_two_axes_or_more():
    reference = {"state": {"fc.weight": [4, 3], "bn.weight": [4]}}
    plain, scaled = vectors.draw_weights(reference), vectors.draw_weights({**reference, "weights_ndim2_scale": 0.35})
    np.testing.assert_allclose(scaled["fc.weight"], 0.35 * plain["fc.weight"], rtol=1e-6)
    np.testing.assert_array_equal(scaled["bn.weight"], plain["bn.weight"])


def test_skeletons_get_our_axes_and_the_second_sample_one_person():
    shape = {"N": 2, "M": 2, "T": 6, "V": 5, "C": 3}
    drawn = np.random.Generator(np.random.PCG64(9)).standard_normal((2, 2, 6, 5, 3)).astype(np.float32)
    pyskl = {"shape": list(shape.values()), "seed": 9, "layout": "N,M,T,V,C", "zeroed": "told in words"}
    x = vectors.draw_input({"input": pyskl})
    assert x.shape == (2, 3, 6, 5, 2)
    assert x[1, 2, 3, 4, 0] == drawn[1, 0, 3, 4, 2]
    assert x[0, 1, 5, 0, 1] == drawn[0, 1, 5, 0, 1]
    assert x[0].all() and x[1, ..., 0].all() and not x[1, ..., 1].any()
    authors = {**pyskl, "shape": [2, 3, 6, 5, 1], "layout": "N,C,T,V,M"}
    del authors["zeroed"]
    assert vectors.draw_input({"input": authors}).shape == (2, 3, 6, 5, 1)


def test_words_of_skeleton_files_become_our_arguments():
    name, arguments = vectors.describe(vectors.load("stgcn_ntu_spatial_hop2_noimp_T16"))
    assert name == "stgcn"
    assert arguments == {
        **{"num_classes": 60, "layout": "ntu25", "strategy": "spatial", "max_hop": 2, "adaptive": "none"},
        "two_stream": False,
    }
    name, arguments = vectors.describe(vectors.load("pyskl_agcn_noattention_ntu_T32"))
    assert name == "agcn"  # PYSKL's graph of NTU is another one
    assert arguments == {"num_classes": 60, "layout": "ntu25_star", "topology": "gated", "attention": False}


def test_files_are_listed_by_pattern():
    assert vectors.list_names("r3d_resnet18_*") == ["r3d_resnet18_A", "r3d_resnet18_B"]
    assert set(vectors.list_names("r3d_*")) <= set(vectors.list_names())


def test_build_gives_the_network_of_the_file_with_its_weights():
    reference = vectors.load("r3d_resnet10_B_conv1t3_cls400")
    model = vectors.build(reference, 1.0)
    assert not model.training
    assert list(model.conv1.weight.shape) == [64, 3, 3, 7, 7]
    weights = vectors.draw_weights(reference, 1.0)
    np.testing.assert_array_equal(model.fc.weight.numpy(), weights["fc.weight"].T)
    np.testing.assert_array_equal(model.bn1.state_dict()["_variance"].numpy(), weights["bn1.running_var"])


def test_a_file_of_an_unknown_source_is_named():
    reference = {"reference": {"repository": "https://github.com/someone/Other-Net"}}
    with pytest.raises(ValueError, match="unknown repository 'other-net'; known: 3d-resnets-pytorch"):
        vectors.build(reference, 2.0)


def test_the_authors_words_become_our_arguments():
    name, arguments = vectors.describe(vectors.load("r3d_resnet2p1d18_B"))
    assert name == "r2plus1d"
    assert arguments == {
        **{"num_classes": 101, "depth": 18, "in_channels": 3, "shortcut": "B", "widen_factor": 1.0},
        **{"conv1_t_size": 7, "conv1_t_stride": 1, "no_max_pool": False},
    }
