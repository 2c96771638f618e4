"""Videos and pictures on the disk: by which suffixes they are known, and where below a folder a video is."""

import os

VIDEO_SUFFIXES = tuple(".avi .mp4 .mkv .mov .webm .m4v .mpg .mpeg .wmv .flv .3gp .ts .ogv".split())
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURE_SIGNATURES = (b"\xff\xd8", b"\x89PNG")  # the first bytes of JPEG and PNG files


class MediaIndex:
    """The videos and frame folders below a folder, however deep, by name.

    Args:
        folder: to search; links are followed.

    Raises:
        FileNotFoundError: there are none.
    """

    def __init__(self, folder: str):
        self.folder, self.paths = folder, {}
        for parent, folders, names in os.walk(folder, followlinks=True):
            if any(name.lower().endswith(PICTURE_SUFFIXES) for name in names):
                folders.clear()
                self.paths.setdefault(os.path.basename(parent), []).append(parent)
            for name in names:
                if name.lower().endswith(VIDEO_SUFFIXES):
                    self.paths.setdefault(os.path.splitext(name)[0], []).append(os.path.join(parent, name))
        if not self.paths:
            raise FileNotFoundError(f"'{folder}' holds no videos and no frame folders; name the folder that does")

    def find(self, names: list[str]) -> str:
        """Return the path of a video by the names it may have; where there is none, the likeliest path.

        Raises:
            ValueError: two videos have the name.
        """
        for name in names:
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                return path
            paths = self.paths.get(name, []) or self.paths.get(os.path.splitext(os.path.basename(name))[0], [])
            if len(paths) > 1:
                raise ValueError(
                    f"'{paths[0]}' and '{paths[1]}' have the same name; take one of them out of the folder"
                )
            if paths:
                return paths[0]
        return os.path.join(self.folder, names[0])
