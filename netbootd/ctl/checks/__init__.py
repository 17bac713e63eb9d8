"""What `doctor` looks at: a table of checks, each a function from a Context to its findings."""

from netbootd.ctl.checks.cluster import cluster, time
from netbootd.ctl.checks.finding import Check
from netbootd.ctl.checks.firewall import firewall
from netbootd.ctl.checks.ports import ports
from netbootd.ctl.checks.rivals import rivals
from netbootd.ctl.checks.roots import roots
from netbootd.ctl.checks.software import commands, loaders, nfs_server
from netbootd.ctl.checks.state import applied, clock, daemon, directory, images, keys, nodes, proxied
from netbootd.ctl.checks.templates import boot_templates
from netbootd.ctl.checks.wires import forwarding, interfaces, relays

CHECKS: dict[str, Check] = {
    "interface": interfaces,
    "router": forwarding,
    "relay": relays,
    "daemon": daemon,
    "ports": ports,
    "loaders": loaders,
    "commands": commands,
    "nfs": nfs_server,
    "firewall": firewall,
    "state": directory,
    "images": images,
    "nodes": nodes,
    "roots": roots,
    "templates": boot_templates,
    "proxy": proxied,
    "keys": keys,
    "cluster": cluster,
    "time": time,
    "apply": applied,
    "clock": clock,
    "dhcp": rivals,
}
"""In the order in which a newcomer mends things; the one that takes seconds comes last."""
