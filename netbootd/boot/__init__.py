"""The boot decision, pure: what a client is, what is announced to it, what a path yields."""
