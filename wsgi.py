"""Entry point for WSGI servers: `gunicorn wsgi:app`."""

from panel import create_app

app = create_app()
