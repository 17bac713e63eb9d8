"""Persistent roots: what each node changes over the image that it shares, kept on the head node.

    roots/MACHINE_ID/generation -> ../../images/debian/3     what its changes lie over
    roots/MACHINE_ID/changes/upper, changes/work             what it changed, as overlayfs keeps that
    roots/MACHINE_ID/root/                                   where both are mounted as one, and exported

By machine-id, so that a node that is renamed keeps its root.
"""
