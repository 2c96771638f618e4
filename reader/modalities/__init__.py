"""What a network of clips sees of a video: its frames, optical flow, or the differences of successive frames.

With `num_stacked` n, flow and differences of n successive frames are the channels of one frame of the clip, as networks
of single frames take them: 2n of flow (x 1, y 1, x 2, ...), 3n of differences. Sources: "Two-Stream Convolutional
Networks for Action Recognition in Videos", K. Simonyan, A. Zisserman, NIPS 2014, arXiv:1406.2199, n = 10; "Temporal
Segment Networks", L. Wang et al., ECCV 2016, arXiv:1608.00859, n = 5. Networks of three dimensions take n = 1: 2
channels over T.
"""

from dataset.optical_flow import METHODS
from reader.modalities.flow import Flow
from reader.modalities.frames import RGB, RGBDifferences

MODALITIES = {"rgb": RGB, "flow": Flow, "rgb_diff": RGBDifferences}
CHANNELS = {"flow": 2, "rgb_diff": 3}  # of a field, of a difference
KEYS = ("modality", "num_stacked")  # of READER, which say how many channels a network takes


def build_modality(
    name: str, num_stacked: int, mean: list, std: list, flow_method: str, flow_short_size: int | None
) -> RGB:
    """Build a modality; the arguments are those of `reader.clips.Clips`.

    Raises:
        ValueError: an unknown name or method, or frames that are to be stacked.
    """
    for key, value, known in (("modality", name, MODALITIES), ("flow_method", flow_method, METHODS)):
        if value not in known:
            raise ValueError(f"reader clips: {key} is {value!r}, expected one of {', '.join(known)}")
    of_flow = {"method": flow_method, "short_size": flow_short_size} if name == "flow" else {}
    return MODALITIES[name](num_stacked, mean, std, **of_flow)


def list_network_arguments(section: dict) -> dict:
    """Return what a modality asks of the network: {"in_channels": number}, or {} for RGB.

    Args:
        section: READER of a config.
    """
    modality = section.get("modality", "rgb")
    return {"in_channels": CHANNELS[modality] * section.get("num_stacked", 1)} if modality in CHANNELS else {}
