"""An admin's options on their way to real clients: netbootd.toml and netbootctl before, dhclient, udhcpc and
klibc's ipconfig (the client of Debian's initramfs) behind; and a node that speaks BOOTP.
"""

from collections.abc import Iterator

import pytest

from tests.dhcp.head import Site, configure, serving
from tests.lab.namespace import Lab

pytestmark = pytest.mark.net

NODE, OTHER, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:ff:00:01"
IPCONFIG = "/usr/lib/klibc/bin/ipconfig"
CONFIG = """
state_dir = "{directory}/state"
[[network]]
interface = "{bridge}"
pool      = "10.77.0.100-10.77.0.110"
router    = "10.77.0.254"
domain    = "cluster"
echo_client_id = false
[network.options]
domain-search = ["cluster", "eng.example"]
classless-static-routes = ["10.8.0.0/16 via 10.77.0.2"]
ntp-servers = ["10.77.0.1", "10.77.0.3"]
interface-mtu = 1400
option-224 = "hex:6e6574"
[nfs]
server = "ganesha"
ganesha_config = "{directory}/ganesha.conf"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("options")
    config = configure(directory, CONFIG)
    with Lab(directory=directory) as lab:
        made = Site(lab, directory, config, serving(lab, config, "10.77.0.0/24"))
        made.well("profile", "set", "base", "--dhcp-option", "ntp-servers=10.77.0.9",
                 "--dhcp-option", "log-servers=10.77.0.9")  # fmt: skip
        made.well("node", "add", "n01", "--mac", NODE, "--ip", "10.77.0.10", "--profile", "base",
                 "--dhcp-option", "interface-mtu=9000", "--dhcp-option", "domain-search=none")  # fmt: skip
        made.well("node", "add", "n02", "--mac", OTHER, "--ip", "10.77.0.11",
                 "--dhcp-option", "bootfile-name=kernel.img")  # fmt: skip
        yield made


@pytest.mark.needs("dhclient")
def test_dhclient_takes_search_domains_routes_and_servers_of_the_network(site: Site) -> None:
    client = site.machine("d1", STRANGER)
    bound = client.wait_for(
        client.dhclient(
            "option rfc3442 code 121 = array of unsigned integer 8",
            "option site code 224 = string",
            "send dhcp-client-identifier 1:2:3",
            "request subnet-mask, routers, domain-search, ntp-servers, interface-mtu, rfc3442, site",
        ),
        "BOUND",
    )
    assert bound["new_domain_search"] == "cluster. eng.example."
    assert bound["new_ntp_servers"] == "10.77.0.1 10.77.0.3"
    assert bound["new_interface_mtu"] == "1400"
    assert bound["new_rfc3442"] == "16 10 8 10 77 0 2 0 10 77 0 254", "the router is among the routes"
    assert bound["new_site"] == "net"
    assert "new_dhcp_client_identifier" not in bound, "echo_client_id is false"


@pytest.mark.needs("udhcpc")
def test_udhcpc_takes_what_is_set_for_its_node_and_its_profile(site: Site) -> None:
    client = site.machine("n01", NODE)
    asks = [word for name in ("search", "staticroutes", "ntpsrv", "7", "mtu") for word in ("-O", name)]
    bound = client.wait_for(client.udhcpc(*asks), "bound")
    assert bound["ip"] == "10.77.0.10"
    assert bound["mtu"] == "9000", "the node's goes before the network's"
    assert bound["ntpsrv"] == "10.77.0.9", "its profile's goes before the network's"
    assert bound["opt7"] == "0a4d0009"
    assert "search" not in bound, "the node has none"
    assert bound["staticroutes"] == "10.8.0.0/16 10.77.0.2 0.0.0.0/0 10.77.0.254"


@pytest.mark.needs(IPCONFIG)
@pytest.mark.parametrize("protocol", ["dhcp", "bootp"])
def test_an_initramfs_gets_address_name_and_boot_file_by_dhcp_and_by_bootp(site: Site, protocol: str) -> None:
    client = site.machine(f"k-{protocol}", OTHER)
    said = client.namespace.run([IPCONFIG, "-t", "20", "-c", protocol, "-d", "eth0"]).stdout
    assert "10.77.0.11" in said and "255.255.255.0" in said and "10.77.0.254" in said
    assert "n02" in said and "kernel.img" in said
    site.daemon.wait_for(
        f"given 10.77.0.11{' by BOOTP' if protocol == 'bootp' else ''}, boot file kernel.img"
    )


@pytest.mark.needs(IPCONFIG)
def test_a_stranger_gets_nothing_by_bootp(site: Site) -> None:
    client = site.machine("k-stranger", "52:54:00:ff:00:09")
    done = client.namespace.run([IPCONFIG, "-t", "3", "-c", "bootp", "-d", "eth0"], check=False)
    assert done.returncode != 0
    site.daemon.wait_for("no answer: it speaks BOOTP and isn't registered")
