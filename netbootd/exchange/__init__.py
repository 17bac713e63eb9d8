"""The registry in files, and other servers' files for the registry.

    yaml_file, csv_file             written by `netbootctl export`, read back without loss
    dnsmasq, dhcpd, kea, ethers     read only: what they hold that the registry has a place for
    plan                            what has to change so that the registry holds what a file says

A reader takes text and gives `Described`; `plan` compares that with the registry's contents; the registry
carries it out in one transaction. All of it is pure: files that a file includes come through `Files`.
"""
