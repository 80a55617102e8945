"""Entry point for WSGI servers: `gunicorn wsgi:app`."""

from panel import create_app
from panel.web import logs

# Without it tracebacks would be written with the values of variables, passwords among them.
logs.configure()
app = create_app()
