"""The cluster's user and shared directory, and who serves time to the nodes: they boot without, poorer."""

from ipaddress import IPv4Address

from netbootd.ctl.checks.finding import Context, Finding, note, ok, warning
from netbootd.ctl.checks.ports import owners_of
from netbootd.files.cluster import NTP_SERVERS
from netbootd.files.shares import shares

NTP_PORT = 123


def cluster(context: Context) -> list[Finding]:
    """[cluster]: whether all that it names can be given to the nodes."""
    settings = context.config.cluster
    if settings.user is None and settings.shared is None:
        return []
    given = shares(context.config)
    found = [warning(each.what, each.mend) for each in given.complaints]
    if given.missing:
        found.append(warning(f"there is no {given.missing} yet, which nodes shall share", "netbootctl apply"))
    if found:
        return found
    who = [f"the user {given.user.name} ({given.user.uid})"] if given.user else []
    return [ok(f"nodes get {' and '.join([*who, *(mount.directory for mount in given.mounts)])}")]


def time(context: Context) -> list[Finding]:
    """Whether the head node serves time, where nodes are told that it does."""
    asked = next(
        (n.server for n in context.networks if _is_named(n.options.get(NTP_SERVERS), n.server)), None
    )
    if asked is None:
        return []
    if not context.root:
        return [note("whether this machine serves time can be seen by root only")]
    owners = owners_of("udp", NTP_PORT, asked)
    if owners:
        return [ok(f"{owners[0].name} serves time to the nodes")]
    if context.config.hosts.chrony_file.parent.is_dir():
        mend = "netbootctl apply; systemctl restart chrony"
    else:
        mend = "apt-get install chrony; netbootctl apply"
    return [warning("nodes are told to have their time from this machine, which serves none", mend)]


def _is_named(servers: bytes | None, server: IPv4Address) -> bool:
    """Whether a network's nodes ask the head node: unless DHCP names others."""
    return servers is None or server.packed in (servers[at : at + 4] for at in range(0, len(servers), 4))
