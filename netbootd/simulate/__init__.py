"""Simulated boards: what a machine's firmware sends, accepts and refuses, played against a running head node.

A board (`raspberrypi`, `uboot`, `edk2` …) is a generator: it yields what it does (`play`) and is told what it
hears. It never touches a socket or a clock, so that the same board runs against a wire, a scripted server and
a clock of make-believe. `dhcp`, `tftp`, `tcp` and `http` are the conversations that boards share, each with
the habits of the board that has it; `frames` and `station` are the machine's network card; `contents` and the
readers of configurations tell what a file is. `port` and `run` alone do IO. `boards` is the table.
"""
