"""The test suite: real sockets, a real Redis, a real database; only loopback."""
