"""Images: how they are made, imported, kept as generations, and what a node runs first.

`node_init()` is the script that every node runs first; `initrd.build` makes the small initrd around it.
"""

from importlib.resources import files

NODE_INIT_PATH = "usr/lib/netbootd/node-init"
"""Where the script lies in an image, for kernels that mount their root by themselves: init=/that."""


def node_init() -> bytes:
    """The text of node-init, a POSIX sh script; put it into an image at NODE_INIT_PATH, executable (0755)."""
    return (files("netbootd.images") / "node_init.sh").read_bytes()
