"""NFS: which directories are exported to which nodes, and the two servers that can carry it."""
