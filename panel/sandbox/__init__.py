"""A misbehaving SMTP server for trying things out; see docs/sandbox.md. Nothing of the panel needs it."""
