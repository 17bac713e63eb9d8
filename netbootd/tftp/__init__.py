"""TFTP, read-only: the door that firmware knows (RFC 1350, 2347, 2348, 2349, 7440).

A request goes one way: `server` receives it, `wire` decodes it, the shelf looks it up and decides what the
path yields, `options` says on which terms it is sent, `session` says which block goes out when, and `pump`
puts the blocks on the wire, framed once for all clients by `frames`.
"""
