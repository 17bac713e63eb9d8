"""netbootd: one head node, a pile of machines without disks, one daemon.

The house, from the ground up; imports point downwards only:

    errors, node, network, image, lease, stage,
    settings, contents                           the model: values, validated once
    config, registry, events, render, links      where the model comes from, and goes to
    boot                                         what a client gets: two pure decisions
    dhcp, tftp, web                              the doors: one hallway each, sockets at the end of it
    images, nfs, roots, files                    what a node runs on: generations, exports, own root, files
    exchange                                     the registry in files, and other servers' files for it
    simulate                                     machines' firmware, as clients: would it boot?
    daemon                                       composes the above; ctl is the administrator's way in
"""
