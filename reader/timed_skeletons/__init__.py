"""Skeletons as SkateFormer takes them: the joints of a partition, in its order, and the time of each frame."""

from reader.timed_skeletons.reader import TimedSkeletons

__all__ = ["TimedSkeletons"]
