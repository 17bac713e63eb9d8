"""The file of the NFS server that netbootd.toml names: what its template is given, and what that makes."""

from collections.abc import Sequence

from netbootd.files.doing import exports_file
from netbootd.files.headfile import read_file
from netbootd.files.wanted import Inputs
from netbootd.nfs import exportfs, ganesha
from netbootd.nfs.exports import Export

Variables = exportfs.Variables | ganesha.Variables
KERNEL = "kernel"


def template(server: str) -> str:
    """The name of the template that the server's file is made from."""
    return exportfs.TEMPLATE if server == KERNEL else ganesha.TEMPLATE


def variables(inputs: Inputs, exports: Sequence[Export]) -> Variables:
    """What it is given. Raises UserError for what the server can't export."""
    config = inputs.config
    if config.nfs.server == KERNEL:
        return exportfs.variables(exports)
    file = exports_file(config)
    servers = {network.server for network in inputs.networks}
    all_here = len(inputs.networks) == len(config.network)
    return ganesha.variables(
        exports,
        file,
        present=(read_file(file) or b"").decode(errors="replace"),
        version=config.nfs.version,
        bind=servers.pop() if len(servers) == 1 and all_here else None,
    )


def rendered(inputs: Inputs, variables: Variables) -> bytes:
    """The file. Raises UserError for a fault in the template."""
    if isinstance(variables, exportfs.Variables):
        return exportfs.render(inputs.renderer, variables)
    return ganesha.render(inputs.renderer, variables)
