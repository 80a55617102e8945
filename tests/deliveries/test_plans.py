"""How PostgreSQL finds the rows that letters are recorded in: by their keys, however young the tables are."""

from __future__ import annotations

import pytest

from panel import db
from panel.batch import Statement, Writer
from panel.deliveries import recorder
from tests.deliveries.conftest import Post, platform, post

__all__ = ["platform", "post"]

# Made by the first letters of a new installation, and kept for all that follow.
_READS_ALL = ("Seq Scan", "Hash", "Merge Join", "Materialize", "Bitmap")


@pytest.mark.parametrize("counted", [False, True], ids=["nobody has counted", "counted as empty"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("name", [name for name, value in vars(recorder).items() if isinstance(value, Statement)])
def test_what_a_letter_is_recorded_by_reads_no_table_from_end_to_end(post: Post, name: str, counted: bool) -> None:
    statement: Statement = getattr(recorder, name)
    compiled = statement.compiled(db.engine().dialect)
    if counted:
        # As autovacuum does when it likes.
        with db.engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("ANALYZE deliveries, attempts, mail_servers, suppressions")
    writer = Writer()
    with writer.transaction() as batch:
        plan = batch._connection.cursor().execute(f"EXPLAIN {compiled.text}", compiled.parameters([])).fetchall()
    writer.close()
    lines = [line for (line,) in plan]
    assert any("Index" in line for line in lines)
    # `mail_servers` and `suppressions` are asked once a letter, by key as well.
    assert [line for line in lines if any(way in line for way in _READS_ALL)] == []
