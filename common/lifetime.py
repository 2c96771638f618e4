"""The lives of processes: whether one has ended, what a forked one leaves alone, and an end together with the parent.

As a script, which `tie` names, it becomes another command that ends with its parent.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

PR_SET_PDEATHSIG = 1  # name of Linux's sys/prctl.h
IS_LINUX = sys.platform.startswith("linux")
POLL_S = 0.5  # between two looks at a parent, where the system does not tell of its end


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


@contextlib.contextmanager
def keep_garbage() -> Iterator[None]:
    """Let processes that are forked in this context collect nothing of what their parent has left.

    Paddle's interpreter of a static program waits for its threads when it is freed; a forked process, which has none of
    them, aborts.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def end_with_parent() -> None:
    """Let this process, started by `multiprocessing`, end at once when its parent ends, however that ends.

    It must not write while the next run removes unfinished files, nor wait for ever on a queue that nobody fills.
    """
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def tie(command: list) -> list:
    """Return a command that does the same and is killed when this process ends, however that ends.

    Its process has the number, the streams and the exit status of `command`. Start it from the main thread: Linux takes
    the end of the thread that started it for that of the parent. On Windows it is `command` itself.
    """
    words = list(map(str, command))
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *words] if os.name == "posix" else words


def end_with_starter(parent: int) -> None:
    """Let this process end at once when its parent process ends; on Linux also what it becomes by `exec`."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_exit_with_starter, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")


def _exit_with_starter(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def _kill_after(parent: int, child: int) -> None:
    """Kill a process when its parent has ended, from a process that it forked, which ends with it in any case."""
    while os.getppid() == child and not has_ended(parent):
        time.sleep(POLL_S)
    with contextlib.suppress(ProcessLookupError):
        if os.getppid() == child:
            os.kill(child, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    if not IS_LINUX and os.fork() == 0:  # a thread would not outlive `exec`
        _kill_after(int(sys.argv[1]), os.getppid())
    end_with_starter(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
