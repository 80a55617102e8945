"""The message engine: merge tags, templates, addresses and the letter on the wire. Plain values in and out."""
