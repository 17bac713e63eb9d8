"""DHCP: one hallway in server.py; what is answered is decided by pure functions.

`wire` turns octets into a `Message` and back, `options` knows the numbers and the values, `leasebook` the
addresses of the pool, `reservation` decides the answer (RFC 2131), `destination` where it goes, and
`throttle` how often something is told.
"""
