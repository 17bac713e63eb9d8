"""What other packages have to bring: the loaders, an NFS server, the commands that netbootd calls."""

import shutil
from pathlib import Path

from netbootd.boot.loaders import LOADERS
from netbootd.config import NfsSettings
from netbootd.ctl import wanted_loaders
from netbootd.ctl.checks.finding import Context, Finding, ok, warning, wrong
from netbootd.ctl.checks.ports import owners_of
from netbootd.ctl.services import INSTALL_GANESHA, START_GANESHA
from netbootd.events import offers
from netbootd.images import ram
from netbootd.node import RootMode

NFS_PORT = 2049
RPCBIND_PORT = 111
KERNEL_THREADS = Path("/proc/fs/nfsd/threads")


def loaders(context: Context) -> list[Finding]:
    """The files that firmware is given first: those that the nodes have been told of, or will ask for."""
    with context.head.registry() as registry:
        nodes = registry.nodes()
    said = offers(context.config.events_path)
    unheard = {node.image for node in nodes if node.image and not any(mac in said for mac in node.macs)}
    current = [context.head.images.current(image) for image in unheard]
    told = [said[mac] for node in nodes for mac in node.macs if mac in said]
    missing = wanted_loaders.missing(told, [generation.architecture for generation in current if generation])
    if missing:
        return [wrong(f"the loader {loader.name} isn't installed", loader.advice) for loader in missing]
    here = [loader.name for loader in LOADERS.values() if wanted_loaders.installed(loader)]
    return [ok(f"all that the nodes need; here are {', '.join(here) or 'none'}")]


def nfs_server(context: Context) -> list[Finding]:
    """The server that netbootd.toml names: installed, running, answering at its port."""
    kernel = context.config.nfs.server == "kernel"
    found = _kernel() if kernel else _ganesha(context)
    v3 = context.config.nfs.version == "3" and context.networks
    if v3 and not owners_of("tcp", RPCBIND_PORT, context.networks[0].server):
        found.append(
            wrong("rpcbind doesn't run, which NFS 3 needs", 'apt-get install rpcbind, or version = "4.2"')
        )
    return found or [ok(f"the {'kernel' if kernel else 'NFS-Ganesha'} server runs")]


def commands(context: Context) -> list[Finding]:
    """Commands without which some of netbootctl fails."""
    with context.head.registry() as registry:
        in_memory = any(node.root is RootMode.RAM for node in registry.nodes())
    wanted = {"ssh-keygen": ("openssh-client", "node add"), "mmdebstrap": ("mmdebstrap", "image build")}
    if in_memory:
        wanted["mksquashfs"] = (ram.PACKAGE, "node set --root ram")
    found = []
    for command, (package, what) in wanted.items():
        if shutil.which(command) is None:
            level = warning if command == "mmdebstrap" else wrong
            found.append(level(f"{command} isn't installed; `{what}` needs it", f"apt-get install {package}"))
    return found


def _kernel() -> list[Finding]:
    if shutil.which("exportfs") is None:
        return [wrong("the kernel's NFS server isn't installed", "apt-get install nfs-kernel-server")]
    try:
        threads = int(KERNEL_THREADS.read_text(encoding="ascii"))
    except (OSError, ValueError):
        threads = 0
    if threads == 0:
        return [
            wrong(
                "the kernel's NFS server doesn't run",
                'systemctl enable --now nfs-server   (this kernel has none? server = "ganesha")',
            )
        ]
    return []


def _ganesha(context: Context) -> list[Finding]:
    nfs = context.config.nfs
    if shutil.which("ganesha.nfsd") is None:
        return [wrong("NFS-Ganesha isn't installed", f"{INSTALL_GANESHA}; {START_GANESHA}")]
    start = START_GANESHA
    if nfs.ganesha_config != NfsSettings().ganesha_config:
        start = f"ganesha.nfsd -f {nfs.ganesha_config} -p {nfs.ganesha_pid}"
    try:
        pid = int(nfs.ganesha_pid.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
    except (OSError, ValueError):
        name = ""
    if not name.startswith("ganesha"):
        return [
            wrong(f"NFS-Ganesha with netbootd's exports doesn't run (nothing by {nfs.ganesha_pid})", start)
        ]
    if context.root and context.networks and not owners_of("tcp", NFS_PORT, context.networks[0].server):
        return [
            wrong(f"NFS-Ganesha runs and doesn't answer at TCP port {NFS_PORT}", f"stop it, then {start}")
        ]
    return []
