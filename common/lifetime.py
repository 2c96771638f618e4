"""The lives of processes: whether one has ended, and an end together with the parent."""

import multiprocessing
import os
import pathlib
import threading


def has_ended(process_id: int) -> bool:
    """Whether no other process of that number runs on this machine.

    The number of this process itself was that of another one before: a container gives the same numbers every time.
    """
    if process_id == os.getpid():
        return True
    status = pathlib.Path(f"/proc/{process_id}/stat")
    try:
        if status.parent.parent.joinpath("self").exists():  # Linux
            return status.read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
        os.kill(process_id, 0)
    except (FileNotFoundError, ProcessLookupError):
        return True
    except PermissionError:
        return False
    return False


def end_with_parent() -> None:
    """Let this process, started by `multiprocessing`, end at once when its parent ends, however that ends.

    It must not write while the next run removes unfinished files, nor wait for ever on a queue that nobody fills.
    """
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
