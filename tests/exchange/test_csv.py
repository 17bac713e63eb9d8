"""Tables by hand: what a spreadsheet writes, and what is refused with its line."""

import pytest

from netbootd.errors import FileError, UserError
from netbootd.exchange import csv_file, formats
from netbootd.exchange.described import Entry

MAC = "52:54:00:00:00:01"


def entries(text: str) -> tuple[Entry, ...]:
    return csv_file.read(text, "x.csv").nodes


TABLES = {
    "commas": f"name,macs,address\nn01,{MAC},10.77.0.11\n",
    "semicolons": f"name;macs;address\r\nn01;{MAC};10.77.0.11\r\n",
    "tabs": f"name\tmacs\taddress\nn01\t{MAC}\t10.77.0.11\n",
    "Excel's first line": f"sep=;\nname;macs;address\nn01;{MAC};10.77.0.11\n",
    "a byte order mark": f"\ufeffname,macs,address\nn01,{MAC},10.77.0.11\n",
    "other titles": f"IP-Address,Host Name,MAC_address\n10.77.0.11,n01,{MAC}\n",
    "other spelling": "NAME,Macs,ADDRESS\nN01, 52-54-00-00-00-01 ,10.77.0.11 \n",
    "quotation marks": f'"name","macs","address"\n"n01","{MAC}","10.77.0.11"\n',
    "empty rows and cells at the end": f"name,macs,address,,\n,,,,\nn01,{MAC},10.77.0.11,,\n\n",
}


@pytest.mark.parametrize("case", TABLES)
def test_a_spreadsheets_table_is_read(case: str) -> None:
    (entry,) = entries(TABLES[case])
    assert entry.name == "n01"
    assert {key: str(value) for key, value in entry.fields.items()} == {
        "macs": f"('{MAC}',)",
        "address": "10.77.0.11",
    }
    assert formats.recognise("table", TABLES[case]) == "csv"


def test_an_empty_cell_takes_the_own_value_away_and_a_missing_column_leaves_it() -> None:
    (entry,) = entries("name,macs,address,machine_id,image,kernel_args,dhcp ntp-servers\nn01,,,,,,\n")
    assert entry.fields == {"image": None, "kernel_args": None, "dhcp_options": {42: None}}


def test_a_text_in_quotation_marks_of_its_own_is_as_it_stands() -> None:
    text = 'name,kernel_args,dhcp 100\nn01,"""""",""" CET """\nn02,"""a=b c""",\'x\'\n'
    first, second = entries(text)
    assert first.fields == {"kernel_args": "", "dhcp_options": {100: b" CET "}}
    assert second.fields == {"kernel_args": "a=b c", "dhcp_options": {100: b"'x'"}}


REFUSED = {
    "an unknown kind": ("kind,name\nmachine,n01\n", "x.csv:2: 'machine' is neither node nor profile"),
    "a column twice": ("name,mac,macs\n", "x.csv:1: two columns are 'macs'"),
    "an option that is none": ("name,dhcp colour\nn01,1\n", "x.csv:1: there is no DHCP option 'colour'"),
    "a cell too many": ("name,ip\nn01,10.77.0.11,10.77.0.12\n", "x.csv:2: has 3 cells, and the first row 2"),
    "a cell over two lines before": ('name,note\nn01,"a\nb"\nn_2,x\n', "x.csv:4: 'n_2' can't be a host name"),
    "an open quotation mark": ('name,note\nn01,"' + "x\n" * 40_000, "x.csv:2: a cell is too long"),
    "a huge cell": ("name\n" + "n" * 200_000 + "\n", "x.csv:2: isn't CSV: field larger than"),
    "an odd separator": ("sep=x\nname\n", "x.csv:1: 'x' between cells"),
    "a profile with a card": (f"kind,name,mac\nprofile,p,{MAC}\n", "x.csv:2: a profile has no macs"),
    "nothing": ("", "x.csv:1: no column is called `name`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_its_line(case: str) -> None:
    text, why = REFUSED[case]
    with pytest.raises(FileError) as refused:
        csv_file.read(text, "x.csv")
    assert why in str(refused.value)


def test_a_file_is_told_by_its_name_else_by_what_it_holds() -> None:
    told = {
        "cluster.yml": "", "cluster.TSV": "", "/etc/dnsmasq.d/x": "", "/etc/dhcp/dhcpd.conf": "",
        "/etc/ethers": "",
        "a": "# x\nnodes: {}\n", "b": f"# x\n{MAC} n01\n", "c": "host n01 {\n", "d": "dhcp-host=x\n",
    }  # fmt: skip
    assert [formats.recognise(name, text) for name, text in told.items()] == [
        "yaml", "csv", "dnsmasq", "dhcpd", "ethers", "yaml", "ethers", "dhcpd", "dnsmasq",
    ]  # fmt: skip
    with pytest.raises(UserError, match="--format"):
        formats.recognise("notes.txt", "some text\n")
