"""Key points of live pictures, by tools/find_poses.py in a process of its own: MediaPipe needs another environment."""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import threading

import numpy as np

from common import lifetime

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools" / "find_poses.py"
MAX_WAIT_S = 60  # for an answer; the first one takes seconds
ADVICE = "set POSES_PYTHON to the Python of an environment for tools/find_poses.py, such as poses/bin/python"


class PoseProcess:
    """A process that answers each frame with the persons in it.

    Raises:
        ValueError: the environment variable POSES_PYTHON is not set.
        OSError: it names no program.
    """

    def __init__(self):
        python = os.environ.get("POSES_PYTHON")
        if not python:
            raise ValueError(f"key points of live pictures are found by MediaPipe; {ADVICE}")
        self.errors = tempfile.TemporaryFile()
        command = lifetime.tie([python, SCRIPT, "--stream"])
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, start_new_session=True, **pipes)  # Ctrl-C is not for it

    def find(self, picture: np.ndarray) -> list:
        """Return the persons in a picture, uint8 RGB (H, W, 3), as `instances` of MMPose's json.

        Raises:
            ValueError: the process has ended or does not answer; with its last words.
        """
        timer = threading.Timer(MAX_WAIT_S, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(f"{picture.shape[1]} {picture.shape[0]}\n".encode() + picture.tobytes())
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            raise ValueError(f"the process of key points has ended: {self._read_last_words()}; {ADVICE}")
        return json.loads(line)["instances"]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(BrokenPipeError):  # what was not written yet is of no use
                pipe.close()

    def _read_last_words(self) -> str:
        self.process.wait(MAX_WAIT_S)
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.process.returncode}"
