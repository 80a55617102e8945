"""Ownpost: campaign mail through the account's own mail server."""
