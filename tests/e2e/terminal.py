"""mtop, in a terminal of our own: it reads `stats`, `stats items` and `stats slabs`, and ends if a field is missing."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from cluster import die_with_parent

ROWS, COLUMNS = 50, 200
SECONDS_MAX = 15
# What the screen shows when all was read: memory used and allowed, and the number of items.
READ = re.compile(r"[\d.]+[kMG]?b?/[\d.]+[MG].*Hit Ratio|Hit Ratio.*[\d.]+[kMG]?b?/[\d.]+[MG]")


def screen_of(program, address):
    """The text that the program drew until it showed numbers, or until the time was up."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [program, address], stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=die_with_parent,
        env=os.environ | {"TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    drawn, give_up = b"", time.monotonic() + SECONDS_MAX
    try:
        while not READ.search(plain(drawn)) and time.monotonic() < give_up and process.poll() is None:
            if select.select([ours], [], [], 0.1)[0]:
                drawn += os.read(ours, 65536)
    except OSError:
        pass  # The program ended.
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return plain(drawn)


def plain(drawn):
    """Without colours, cursor moves and the lines of boxes."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", drawn.decode("utf-8", "replace"))
    return re.sub(r"[^\x21-\x7e]+", " ", text)


def story(cluster, report):
    program, violations = os.path.join(os.environ["MEMRING_TOOLS"], "bin", "mtop"), []
    for node in cluster.nodes:
        screen = screen_of(program, node.address)
        if not READ.search(screen):
            violations.append(f"{node.name}: {screen[-300:]!r}")
    report.check("mtop reads every node and shows its memory and hit ratio", violations)
