"""Images: how they are made, imported, kept as generations, and what a node runs first.

`node_init()` is the script that every node runs first; `initrd.build` makes the small initrd around it.
"""

from importlib.resources import files

NODE_INIT_PATH = "usr/lib/netbootd/node-init"
"""Where the script lies in an image, for kernels that mount their root by themselves: init=/that."""

NODE_INIT_PARTS = (
    "node_init.sh",
    "node_network.sh",
    "node_root.sh",
    "node_memory.sh",
    "node_files.sh",
    "node_login.sh",
)
"""What it is put together of. In a node it is one file, since it runs there before anything else is."""


def node_init() -> bytes:
    """The text of node-init, a POSIX sh script; put it into an image at NODE_INIT_PATH, executable (0755)."""
    parts = [(files("netbootd.images") / name).read_bytes() for name in NODE_INIT_PARTS]
    return b"\n".join((*parts, b'main "$@"\n'))
