"""The SMTP engine: Ownpost's own client for one mail server.

It takes and returns plain values and imports no framework. The ways in are:

- `settings`: where a server is and how to sign in.
- `destination`: who may be dialled.
- `session`: the one way to talk to a mail server; connection tests, test sends and campaign mail all use it.
- `submission`: what a session is given to send, and whom it tells before octets leave.
- `outcome` and `steps`: what came of it, typed, so that nobody above reads SMTP text.
- `explain`, `presets`, `advice`: the same in plain words for the person at the form.
"""
