"""/etc/ethers with the names and addresses of /etc/hosts."""

from netbootd.exchange import ethers
from netbootd.exchange.ethers import Hosts
from tests.exchange.files import remarks, shown

HOSTS = Hosts.read(
    ["127.0.1.1 n09\n::1 n08\n10.77.0.11 n01.cluster n01 # first\n10.77.0.12\tn02\n10.99.0.1 n01\n"]
)


def test_a_line_is_a_card_and_a_name_or_an_address() -> None:
    found = ethers.read(
        "# the boards\n52:54:00:00:00:01 n01\n52:54:0:0:0:2\t10.77.0.12  # second\n"
        "52:54:00:00:00:03 n03.cluster\n\n52:54:00:00:00:09 n09\n",
        "ethers",
        HOSTS,
    )
    assert [shown(entry)[:3] for entry in found.nodes] == [
        ("n01", "52:54:00:00:00:01", "10.77.0.11"),
        ("n02", "52:54:00:00:00:02", "10.77.0.12"),
        ("n03", "52:54:00:00:00:03", "-"),
        ("n09", "52:54:00:00:00:09", "-"),
    ]
    assert "the domain of 'n03.cluster' is left out" in remarks(found)[4]


def test_what_is_no_node_is_told_with_its_line() -> None:
    found = ethers.read(
        "52:54:00:00:00:01\nff:ff:ff:ff:ff:ff all\n52:54:00:00:00:02 under_score\n"
        "52:54:00:00:00:03 10.77.0.99\n",
        "ethers",
        HOSTS,
    )
    assert not found.nodes
    told = remarks(found)
    assert "isn't a MAC address and a name" in told[1] and "group address" in told[2]
    assert "RFC 1123" in told[3] and "10.77.0.99 has no name in the hosts file" in told[4]
