"""The networks, by their names in a config's MODEL.name."""

from common.suggestions import suggest
from models.pose.c3d import C3D
from models.pose.pcan import PCAN
from models.pose.posec3d import PoseC3D
from models.pose.rgbposeconv3d import RGBPoseConv3D
from models.pose.x3d import X3D
from models.rgb.densenet3d import DenseNet3D
from models.rgb.i3d import I3D
from models.rgb.mmaction2_r2plus1d import MMAction2R2Plus1D
from models.rgb.pptsm import PPTSM
from models.rgb.preresnet3d import PreResNet3D
from models.rgb.r2plus1d import R2Plus1D
from models.rgb.resnet3d import ResNet3D
from models.rgb.resnext3d import ResNeXt3D
from models.rgb.slowfast import SlowFast
from models.rgb.slowonly import SlowOnly
from models.rgb.tpn import TPN
from models.rgb.tsm import TSM
from models.rgb.wideresnet3d import WideResNet3D
from models.skeleton.agcn import AGCN
from models.skeleton.ctrgcn import CTRGCN
from models.skeleton.ddnet import DDNet
from models.skeleton.degcn import DeGCN
from models.skeleton.dgstgcn import DGSTGCN
from models.skeleton.hdgcn import HDGCN
from models.skeleton.infogcn import InfoGCN
from models.skeleton.msg3d import MSG3D
from models.skeleton.paddlevideo_agcn import PaddleVideoAGCN
from models.skeleton.pbgcn import PBGCN
from models.skeleton.protogcn import ProtoGCN
from models.skeleton.skateformer import SkateFormer
from models.skeleton.stgcn import STGCN
from models.skeleton.stgcnpp import STGCNPP

MODELS = {
    "resnet": ResNet3D,
    "r2plus1d": R2Plus1D,
    "preresnet": PreResNet3D,
    "wideresnet": WideResNet3D,
    "resnext": ResNeXt3D,
    "densenet": DenseNet3D,
    "slowonly": SlowOnly,
    "slowfast": SlowFast,
    "i3d": I3D,
    "mmaction2_r2plus1d": MMAction2R2Plus1D,
    "tsm": TSM,
    "pptsm": PPTSM,
    "tpn": TPN,
    "pbgcn": PBGCN,
    "infogcn": InfoGCN,
    "ctrgcn": CTRGCN,
    "msg3d": MSG3D,
    "stgcn": STGCN,
    "stgcnpp": STGCNPP,
    "dgstgcn": DGSTGCN,
    "protogcn": ProtoGCN,
    "hdgcn": HDGCN,
    "skateformer": SkateFormer,
    "ddnet": DDNet,
    "degcn": DeGCN,
    "agcn": AGCN,
    "paddlevideo_agcn": PaddleVideoAGCN,
    "posec3d": PoseC3D,
    "c3d": C3D,
    "x3d": X3D,
    "rgbposeconv3d": RGBPoseConv3D,
    "pcan": PCAN,
}


def build_model(name: str, **arguments):
    """Build a network.

    Args:
        name: a key of `MODELS`.
        arguments: those of its class.

    Raises:
        ValueError: an unknown name; the message has the nearest one.
    """
    if name not in MODELS:
        raise ValueError(f"build_model: unknown model '{name}'{suggest(name, MODELS)} (known: {', '.join(MODELS)})")
    return MODELS[name](**arguments)
