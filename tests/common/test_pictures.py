"""Picture files: what is written is what was drawn."""

import numpy as np
from PIL import Image

from common.pictures import write_png


def test_a_png_has_the_colours_of_the_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_png(picture, tmp_path / "new" / "x.png")
    with Image.open(tmp_path / "new" / "x.png") as found:
        assert found.mode == "RGB" and np.array_equal(np.asarray(found), picture)
