"""Where a network looks in a sample of a list; `inference/explain.py` says how it is found."""

import numpy as np

from inference import draw_skeletons
from inference.explain import Explanation, explain_window
from models.parts.action_model import ActionModel
from reader.boxes import ViewPlace, scaled_size
from reader.clips import Clips
from reader.frames import EncodedClip, open_video


class ListedSample:
    """A sample of a list as a source of `explain.explain_window`.

    Args:
        reader: that has read the list, one of `reader.READERS`, for evaluation.
        index: of the sample in the list.

    Attributes:
        num_frames: of the video or recording.

    Raises:
        ValueError: the video cannot be read any more.
    """

    def __init__(self, reader, index: int):
        self.reader, self.index, self.frames = reader, index, None
        if isinstance(reader, Clips):
            self.frames = open_video(reader.entries[index]).frames
            self.num_frames = len(self.frames)
        else:
            self.num_frames = reader.entries[index].keypoint.shape[1]

    def locate_views(self, start: int, end: int) -> dict[str, list[ViewPlace]]:
        """Return where the views stand in the sample, which is one window."""
        if self.frames is None:
            return self.reader.locate_views(self.index)
        frame_size = EncodedClip(self.frames, np.zeros(1, int)).frame_size
        return self.reader.locate_views(end - start, scaled_size(*frame_size, self.reader.short_size))

    def locate_joints(self) -> tuple:
        """Return y and x of the joints that the network sees, (M, T, V), as shares of the picture; nan: missing."""
        return draw_skeletons.locate_joints(self.reader.entries[self.index], self.reader.num_persons)


def explain_sample(reader, index: int, model: ActionModel, label: int) -> Explanation:
    """Explain what speaks for a class in a sample of a list, in the views that a test scores.

    Args:
        reader: that has read the list, one of `reader.READERS`, for evaluation.
        index: of the sample in the list.
        model: of the dynamic graph.
        label: the class.

    Raises:
        ValueError: what was read before cannot be read any more.
    """
    source = ListedSample(reader, index)
    return explain_window(source, model, (0, source.num_frames), reader[0, index]["inputs"], label)
