"""`netbootd`: arguments, the log, and the exit ladder around the daemon."""

import argparse
import asyncio
import logging
import sys
from importlib.metadata import version
from pathlib import Path

from netbootd import service_manager
from netbootd.config import DEFAULT_PATH, load
from netbootd.daemon import Daemon
from netbootd.errors import ConfigError, NetbootdError


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon in the foreground; exit status 0 when told to stop, else the error's own."""
    parser = argparse.ArgumentParser(
        prog="netbootd", description="Boots machines without a disk over the network."
    )
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help=f"default {DEFAULT_PATH}"
    )
    parser.add_argument("--debug", action="store_true", help="log every decision")
    parser.add_argument("--version", action="version", version=f"netbootd {version('netbootd')}")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO, handlers=[service_manager.log_handler()]
    )
    log = logging.getLogger("netbootd")
    try:
        asyncio.run(Daemon(load(options.config)).run())
    except ConfigError as error:
        log.critical("%s", error)
        for problem in error.problems:
            log.critical("  %s", problem)
        return error.exit_code
    except NetbootdError as error:
        log.critical("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
