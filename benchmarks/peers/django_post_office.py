"""django_post_office.py LETTER.json FOLDER PORT COUNT CONNECTIONS

The whole job with django-post_office: queued rows in SQLite, filled in when they are sent, recorded. One process with
as many threads as connections. Prints {"seconds": ..., "sent": ...}. Runs in an environment of its own.
"""

import json
import logging
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

LETTER, FOLDER = (Path(word) for word in sys.argv[1:3])
PORT, COUNT, CONNECTIONS = (int(word) for word in sys.argv[3:6])

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FOLDER / "post_office.sqlite3",
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"},
        }
    },
    USE_TZ=True,
    SECRET_KEY="a benchmark",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=PORT,
    EMAIL_BACKEND="post_office.EmailBackend",
    TEMPLATES=[
        {"BACKEND": "django.template.backends.django.DjangoTemplates"},
        {
            "BACKEND": "post_office.template.backends.post_office.PostOfficeTemplates",
            "NAME": "post_office",
            "OPTIONS": {},
        },
    ],
    POST_OFFICE={
        "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
        "BATCH_SIZE": 500,
        "THREADS_PER_PROCESS": CONNECTIONS,
        "LOG_LEVEL": 1,
        "BATCH_DELIVERY_TIMEOUT": 600,
    },
)
django.setup()
logging.disable(logging.CRITICAL)
call_command("migrate", verbosity=0, run_syncdb=True)
from post_office.models import STATUS, Email, EmailTemplate  # noqa: E402 - Django must be set up first


def _values(number: int) -> dict[str, str]:
    code = f"{number:08d}"
    link = f"https://acme.example/invite?ref={code}"
    names = {"first_name": f"Åsa{number}", "last_name": "Lindström", "campaign": "Spring referrals"}
    return {**names, "link": link, "code": code, "company": "Acme AB"}


words = json.loads(LETTER.read_text())
template = EmailTemplate.objects.create(
    name="letter", subject=words["subject"], content=words["text"], html_content=words["html"]
)
Email.objects.bulk_create(
    [
        Email(
            from_email="Owner <owner@acme.example>",
            to=[f"p{number}@example.com"],
            template=template,
            context=_values(number),
            status=STATUS.queued,
            backend_alias="default",
        )
        for number in range(1, COUNT + 1)
    ],
    batch_size=500,
)
start = time.perf_counter()
call_command("send_queued_mail", processes=1, lockfile=str(FOLDER / "post_office.lock"))
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "sent": Email.objects.filter(status=STATUS.sent).count()}))
