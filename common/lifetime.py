"""The lives of processes: whether one has ended, and an end together with the parent."""

import ctypes
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # name of Linux's sys/prctl.h
POLL_S = 1


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


def end_with_starter(process_id: int) -> None:
    """Let this process, started by any means, be killed when the one that started it ends, however that ends.

    Args:
        process_id: of the one that started it; if it has ended already, this process ends here.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_exit_with_starter, args=(process_id,), daemon=True).start()
    if os.getppid() != process_id:
        sys.exit("the process that started this one has ended")


def _exit_with_starter(process_id: int) -> None:
    while os.getppid() == process_id:
        time.sleep(POLL_S)
    os._exit(1)
