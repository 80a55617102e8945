"""The capture mailbox of `ownpost up`: what the platform server would have sent, kept on this machine to look at."""
