"""templates/netbootd.toml.j2: the file that a newcomer reads tells the truth about every setting."""

import re
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from netbootd.config import (
    ClusterSettings,
    Config,
    HostsSettings,
    HttpSettings,
    NetworkSettings,
    NfsSettings,
    TftpSettings,
    load,
)
from netbootd.errors import ConfigError
from netbootd.network import AddressRange, DhcpMode
from netbootd.render import Renderer

SETTING = re.compile(r"#([a-z_-]+[0-9]* = |\[)")


def rendered(**variables: object) -> str:
    return Renderer(None).render("netbootd.toml.j2", **variables)


def loaded(text: str, tmp_path: Path) -> Config:
    path = tmp_path / "netbootd.toml"
    path.write_text(text)
    return load(path)


def test_every_setting_is_explained_and_its_example_can_be_used_as_it_stands(tmp_path: Path) -> None:
    text = rendered()
    switched_on = "\n".join(
        line[1:] if SETTING.match(line) else line for line in text.splitlines() if not line.startswith("# ")
    )
    config = loaded(switched_on, tmp_path)
    tables = {
        "": set(Config.model_fields) - {"path", "network", "tftp", "http", "nfs", "hosts", "cluster"},
        "network": set(NetworkSettings.model_fields),
        "tftp": set(TftpSettings.model_fields),
        "http": set(HttpSettings.model_fields),
        "nfs": set(NfsSettings.model_fields),
        "hosts": set(HostsSettings.model_fields),
        "cluster": set(ClusterSettings.model_fields),
    }
    found: dict[str, set[str]] = {table: set() for table in tables}
    table = ""
    for line in switched_on.splitlines():
        if heading := re.fullmatch(r"\[+([a-z]+)\]+", line):
            table = heading[1]
        elif line == "[network.options]":
            found[table].add("options")
            table = "network.options"
        elif table != "network.options" and (key := re.match(r"[a-z_]+", line)):
            found[table].add(key[0])
    assert found == tables
    assert config.network[0].interface == "eth1"
    assert config.network[0].options.keys() == {"ntp-servers", "classless-static-routes", "option-224"}


def test_a_commented_default_is_the_default(tmp_path: Path) -> None:
    """What the file says holds without a line really holds without it."""
    bare = loaded('[[network]]\ninterface = "eth1"\n', tmp_path)
    lines = rendered(interface="eth1").splitlines()
    examples = {"authorized_keys", "address", "range", "pool", "router", "dns", "domain"}
    examples |= {"user", "shared"}
    examples |= {"subnet", "ntp-servers", "classless-static-routes", "option-224"}
    shown = "\n".join(
        line[1:] if SETTING.match(line) and line[1:].split()[0] not in examples else line for line in lines
    )
    assert loaded(shown, tmp_path) == bare


def test_what_setup_found_out_stands_in_the_file(tmp_path: Path) -> None:
    config = loaded(
        rendered(
            interface="enp3s0",
            address=IPv4Interface("10.1.0.1/16"),
            dhcp=DhcpMode.OFF,
            range=AddressRange.parse("10.1.0.10-10.1.0.99"),
            pool="10.1.1.0-10.1.1.99",
            router=IPv4Address("10.1.0.254"),
            dns=[IPv4Address("10.1.0.1"), IPv4Address("192.0.2.53")],
            domain="nebula",
            lease_time="1h",
            authorized_keys=[Path('/root/it\'s "mine".pub'), Path("/home/ü/id.pub")],
            state_dir=Path("/srv/netbootd"),
            http_port=8080,
            nfs_server="ganesha",
        ),
        tmp_path,
    )
    network = config.network[0]
    assert (network.interface, network.address) == ("enp3s0", IPv4Interface("10.1.0.1/16"))
    assert (network.dhcp, network.lease_time, network.domain) == (DhcpMode.OFF, 3600, "nebula")
    assert (str(network.range), str(network.pool)) == ("10.1.0.10-10.1.0.99", "10.1.1.0-10.1.1.99")
    assert network.router == IPv4Address("10.1.0.254")
    assert network.dns == (IPv4Address("10.1.0.1"), IPv4Address("192.0.2.53"))
    assert config.authorized_keys == (Path('/root/it\'s "mine".pub'), Path("/home/ü/id.pub"))
    assert (config.state_dir, config.http.port, config.nfs.server) == (Path("/srv/netbootd"), 8080, "ganesha")


def test_without_an_interface_the_file_says_what_is_missing_and_nothing_else_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(rendered(), tmp_path)
    assert caught.value.problems == (
        "network: is missing; at least one [[network]] with its interface is needed",
    )
