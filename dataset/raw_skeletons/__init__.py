"""Raw skeleton formats: `FORMATS` has all of them by name.

A format is a module of two functions: `find_samples(args)` lists what there is and its splits, `read_sample(sample,
args)` reads one sample in a worker process; `pyskl`, whose samples are in one pickle, reads them at once.
"""

from dataset.raw_skeletons import arrays, coco, kinetics, mediapipe, ntu, openpose, pyskl, ucla

FORMATS = {
    "ntu": ntu,
    "ntu60": ntu,
    "ntu120": ntu,
    "ucla": ucla,
    "kinetics": kinetics,
    "npy": arrays,
    "coco": coco,
    "openpose": openpose,
    "mediapipe": mediapipe,
    "pkl": pyskl,
}
