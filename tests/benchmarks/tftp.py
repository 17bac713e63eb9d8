"""`python -m tests.benchmarks.tftp [--peers DIR] [--size MiB]`: our TFTP server beside those of others.

Each server in turn, on one core, in a network namespace of its own; on another core a client in C that
keeps so many transfers going. Prints MB/s and the server's CPU seconds per GiB, the median of three rounds
in which the servers take turns. Peers that aren't installed are left out; DIR is where a package of theirs
was unpacked. Needs gcc and root.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.lab.namespace import Lab
from tests.lab.process import LabError, Process

CASES = [
    (1468, 1, 1),
    (1468, 1, 16),
    (1468, 1, 64),
    (512, 1, 64),
    (1468, 16, 1),
    (1468, 16, 16),
    (1468, 64, 64),
]
"""blksize, windowsize, clients."""
ROUNDS = 3
SERVERS = {
    "netbootd": f"{sys.executable} -m tests.tftp.serve lo {{root}}",
    "dnsmasq": "dnsmasq --conf-file=/dev/null --keep-in-foreground --port=0 --interface=lo --bind-interfaces"
    " --enable-tftp --tftp-root={root} --tftp-max=5000 --user=root",
    "tftpd-hpa": "in.tftpd --foreground --address 127.0.0.1:69 --user root --secure {root}",
    "atftpd": "atftpd --daemon --no-fork --port 69 --bind-address 127.0.0.1 --maxthread 5000 --user root"
    " --verbose=0 {root}",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--only")
    given = parser.parse_args()
    path = os.environ["PATH"] + (f":{given.peers}/usr/sbin" if given.peers else "")
    servers = {
        name: command
        for name, command in SERVERS.items()
        if shutil.which(command.split()[0], path=path) and (not given.only or name in given.only.split(","))
    }
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "served"
        root.mkdir()
        (root / "file").write_bytes(random.Random(0).randbytes(given.size << 20))
        load = Path(directory) / "tftp_load"
        source = Path(__file__).with_name("tftp_load.c")
        subprocess.run(["gcc", "-O2", "-o", load, source], check=True)
        print(f"{'blksize windowsize clients':28}" + "".join(f"{name:>20}" for name in servers))
        with Lab() as lab:
            for case in CASES:
                found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
                for _ in range(ROUNDS):
                    for name, command in servers.items():
                        words = command.format(root=root).split()
                        words[0] = shutil.which(words[0], path=path) or words[0]
                        try:
                            found[name].append(measure(lab, words, load, case))
                        except LabError as error:
                            print(f"{name}: {error}", file=sys.stderr)
                print(
                    f"{case[0]:8}{case[1]:8}{case[2]:8}    "
                    + "".join(f"{show(found[name]):>20}" for name in servers)
                )


def show(results: list[tuple[float, float]]) -> str:
    """The medians: MB/s (CPU seconds per GiB)."""
    if not results:
        return "failed"
    speed, cost = (median(column) for column in zip(*results, strict=True))
    return f"{speed:.0f} ({cost:.2f})"


def measure(lab: Lab, command: list[str], load: Path, case: tuple[int, int, int]) -> tuple[float, float]:
    """MB/s and CPU seconds per GiB of one run."""
    blksize, windowsize, clients = case
    server = lab.start("server", ["taskset", "-c", "0", *command], env={"PER_CLIENT": "5000"})
    try:
        wait_until_served(lab, server, load)
        before = cpu_seconds(server.pid)
        transfers = max(clients, 4)
        words = f"taskset -c 1 {load} 127.0.0.1 69 file {clients} {blksize} {windowsize} {transfers}"
        done = lab.run(words.split(), timeout=300)
        octets, seconds, _ = done.stdout.split()
        used = cpu_seconds(server.pid) - before
        return int(octets) / float(seconds) / 1e6, used / (int(octets) / 2**30)
    finally:
        server.stop()


def wait_until_served(lab: Lab, server: Process, load: Path) -> None:
    """One transfer for a warm cache."""

    def served() -> bool:
        words = f"{load} 127.0.0.1 69 file 1 8192 1 1"
        return lab.run(words.split(), check=False, timeout=40).returncode == 0

    server.wait_until(served, "answer")


def cpu_seconds(pid: int) -> float:
    """What a process used, threads and children that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, system, *children = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15])
    # The scheduler counts nanoseconds, but forgets a thread when it ends.
    running = sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return max(user + system, running / 1e9) + sum(children)


if __name__ == "__main__":
    main()
