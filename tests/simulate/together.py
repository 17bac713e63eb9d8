"""Many kinds of boards on one wire at once, as a program to run in a lab's namespace.

    python -m tests.simulate.together INTERFACE FIRMWARE=MAC[=SERIAL] …

Writes one JSON object: FIRMWARE=MAC -> the kernel that would boot, or `would not boot: ` and the reason.
"""

import asyncio
import json
import sys

from netbootd.node import Mac
from netbootd.simulate.boards import board, machine
from netbootd.simulate.port import open_port
from netbootd.simulate.run import Report, play


def main() -> None:
    interface, *wanted = sys.argv[1:]
    reports = []
    boards = []
    for seed, word in enumerate(wanted):
        firmware, mac, *serial = word.split("=")
        made = machine(Mac(mac), serial=int(serial[0], 16) if serial else None, seed=seed * 7919)
        report = Report(f"{firmware}={mac}", made)
        reports.append(report)
        boards.append((report, board(firmware)[1].plays(made)))
    with open_port(interface) as port:
        asyncio.run(play(boards, port, longest=120))
    told = {
        report.name: report.booted.kernel if report.booted else f"would not boot: {report.reason}"
        for report in reports
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
