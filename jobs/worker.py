"""The worker process: one queue, JSON, no fork for each job, so that connections stay warm between jobs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from typing import Any

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from panel import create_app, process, queue
from panel.config import Settings
from panel.deliveries import service as deliveries

log = structlog.get_logger(__name__)


_OWN_JOB = re.compile(r"jobs\.[a-z_]+\.[a-z_]+")
_STOP = (signal.SIGTERM, signal.SIGINT)


class OwnJob(Job):
    """A job of this project. RQ would call whatever a job names, `os.system` too: Redis must not be a way in."""

    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Any:
        """The function of `jobs/` that it names. Raises ValueError for any other."""
        if self.instance is not None or not _OWN_JOB.fullmatch(self.func_name or ""):
            raise ValueError("not a job of this project")
        return super().func


class OwnpostWorker(SimpleWorker):
    """RQ's worker, with shorter recovery times than its own and logs without arguments."""

    def __init__(self, name: str) -> None:
        super().__init__(
            [Queue(name, connection=queue.connection(), job_class=OwnJob, serializer=JSONSerializer)],
            connection=queue.connection(),
            job_class=OwnJob,
            serializer=JSONSerializer,
            worker_ttl=45,
            maintenance_interval=30,
            job_monitoring_interval=10,
            log_job_description=False,
        )

    def handle_warm_shutdown_request(self) -> None:
        """Called when asked to stop: letters in flight end, the rest is given back."""
        deliveries.stop()

    def set_shutdown_requested_date(self) -> None:
        """RQ's note of it, made in a signal handler, where a Redis that is away must do no harm."""
        with contextlib.suppress(redis.RedisError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]  # RQ's own


def run(settings: Settings, *, name: str, count: int) -> None:
    """Runs `count` workers on one queue until SIGTERM: in this process, or as that many children of it."""
    if count == 1:
        _work(settings, name)
    else:
        _Children(settings, name).run(count)


def _work(settings: Settings, name: str) -> None:
    process.open_as_many_files_as_allowed()
    app = create_app(settings)
    process.prepare_for_lanes()
    process.notify_ready()
    with app.app_context():
        OwnpostWorker(name).work(logging_level="WARNING")
        deliveries.close()


class _Children:
    """Forks the workers after the imports, which they then share, and forks again what dies."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._pids: set[int] = set()
        self._stopping = False

    def run(self, count: int) -> None:
        for number in _STOP:
            signal.signal(number, self._stop)
        for _ in range(count):
            self._fork()
        process.notify_ready()
        while self._pids:
            pid, status = os.wait()
            self._pids.discard(pid)
            if not self._stopping:
                log.warning("a worker died; starting another", queue=self._name, status=status)
                time.sleep(1)
                self._fork()

    def _fork(self) -> None:
        """Starts one more, unless all are to stop."""
        parent = os.getpid()
        # A signal that comes meanwhile waits until the child is among those whom `_stop` tells.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        try:
            pid = None if self._stopping else os.fork()
            if pid:
                self._pids.add(pid)
            if pid != 0:
                return
            for number in _STOP:
                signal.signal(number, signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
        process.die_with_parent(parent)
        os.environ.pop("NOTIFY_SOCKET", None)
        try:
            _work(self._settings, self._name)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)

    def _stop(self, number: int, _frame: object) -> None:
        self._stopping = True
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
