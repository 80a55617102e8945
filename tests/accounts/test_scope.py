"""The account scope and its traps: whatever way a statement takes, it sees one account's rows or is refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import (
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    union,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, aliased, load_only, make_transient_to_detached, undefer

from panel import db
from panel.accounts.models import Account, AuditEntry, User
from panel.accounts.service import add_api_key
from panel.campaigns import service as campaigns
from panel.campaigns.models import Campaign
from panel.participants import service as participants
from panel.participants.models import Participant
from panel.suppressions.models import Suppression
from tests.support.world import World

pytestmark = pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")


@dataclass(frozen=True)
class Theirs:
    """What another account owns: a campaign of one participant."""

    account_id: uuid.UUID
    campaign_id: uuid.UUID
    person_id: uuid.UUID


EMAIL = "kim@elsewhere.test"


@pytest.fixture
def theirs(world: World) -> Theirs:
    with world.app.app_context(), db.account_scope(world.other.id):
        details = campaigns.Details(name="Theirs", company_name="Other", referral_url="https://other.test/r/")
        campaign = campaigns.create(details)
        with db.transaction():
            person, _ = participants.ensure_referrer(campaign.id, EMAIL, "Kim", "Doe")
        return Theirs(world.other.id, campaign.id, person.id)


@pytest.fixture
def scope(world: World, theirs: Theirs) -> Iterator[Session]:
    """Acme's scope; Acme owns a campaign without participants."""
    with world.acme_scope() as session:
        campaigns.create(campaigns.Details(name="Ours", company_name="Acme", referral_url="https://acme.test/r/"))
        yield session


Other = aliased(Participant)
some = select(Participant.id, Participant.campaign_id).where(Participant.email == EMAIL)
cte = some.cte("some")
tree = select(Participant.id).cte("tree", recursive=True)
tree = tree.union_all(select(Participant.id).join(tree, Participant.id == tree.c.id).where(Participant.email == "x"))

# Each would find the other account's participant, by its own way.
FINDS: dict[str, Any] = {
    "an entity": select(Participant),
    "columns": select(Participant.email, Participant.id),
    "some columns of an entity": select(Participant).options(load_only(Participant.email), undefer("*")),
    "an alias": select(Other),
    "an alias in an alias": select(aliased(Participant, select(Participant).subquery())),
    "an alias over a bare table": select(aliased(Participant, Participant.__table__.alias())),
    "a join": select(Campaign.id, Participant.id).join(Participant, Participant.campaign_id == Campaign.id),
    "an outer join": select(Participant.id)
    .select_from(Campaign)
    .outerjoin(Participant, literal(value=True))
    .where(Participant.id.is_not(None)),
    "a second table in the criteria": select(Campaign.id).where(Participant.email == EMAIL),
    "a second alias in the criteria": select(Campaign.id).where(Other.email == EMAIL),
    "a constant": select(literal(1)).where(Participant.email == EMAIL),
    "a case": select(case((Participant.email == EMAIL, 1))),
    "a grouping": select(Participant.email, func.count()).group_by(Participant.email),
    "a class by a column of its table": select(Participant).where(Participant.__table__.c.email == EMAIL),
    "a subquery": select(some.subquery().c.id),
    "a common table": select(cte.c.id),
    "a recursive common table": select(tree.c.id),
    "a union": union(select(Participant.id), select(Participant.id)),
    "a union of all": union_all(select(Participant.id), select(Participant.id)).order_by("id"),
    "a union in a subquery": select(union(select(Participant.id), select(Other.id)).subquery().c.id),
    "an entity from a union": select(Participant).from_statement(union(select(Participant), select(Participant))),
    "a key among keys": select(Campaign.id).where(literal(EMAIL).in_(select(Participant.email))),
    "whether there is one": select(Campaign.id).where(exists().where(Participant.email == EMAIL)),
    "whether a selection has one": select(Campaign.id).where(some.exists()),
    "a lock": select(Participant.id).with_for_update(),
    "people": select(User.id).where(User.email == "owner@other.test"),
    "an account": select(Account).where(Account.name == "Other"),
    "an account by an alias": select(aliased(Account).name).where(exists().where(Account.name == "Other")),
}
# And these would count it, or say something of it.
SAYS: dict[str, tuple[Any, Any]] = {
    "a count": (select(func.count()).select_from(Participant), 0),
    "a count of a column": (select(func.count(Participant.id)), 0),
    "a greatest": (select(func.max(Participant.email)), None),
    "whether there is one": (select(exists(select(Participant.id))), False),
    "a count in a column": (
        select(select(func.count(Participant.id)).scalar_subquery()).select_from(Campaign).limit(1),
        0,
    ),
    "the order": (
        select(func.count()).select_from(select(Campaign.id).order_by(select(Participant.email).limit(1).scalar_subquery()).subquery()),
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", FINDS)
def test_it_finds_nothing_of_another_account(scope: Session, world: World, way: str) -> None:
    assert scope.execute(FINDS[way]).all() == []
    with db.system_scope("tests") as everywhere:
        assert everywhere.execute(FINDS[way]).all() != [], "this would find nothing anyway"


@pytest.mark.parametrize("way", SAYS)
def test_it_says_nothing_of_another_account(scope: Session, world: World, way: str) -> None:
    statement, said = SAYS[way]
    assert scope.scalar(statement) == said


def test_it_takes_no_row_of_another_account_by_its_key(scope: Session, theirs: Theirs) -> None:
    for model, key in ((Participant, theirs.person_id), (Campaign, theirs.campaign_id), (Account, theirs.account_id)):
        assert scope.get(model, key) is None
        assert scope.get(model, key, populate_existing=True) is None
    with pytest.raises(db.NotFound):
        db.owned(Participant, theirs.person_id)


def test_it_opens_a_session_of_its_own_in_each_scope(world: World, theirs: Theirs) -> None:
    with world.app.app_context(), db.account_scope(theirs.account_id) as outer:
        assert outer.get(Participant, theirs.person_id) is not None
        with db.account_scope(world.acme.id) as inner:
            assert inner is not outer
            assert inner.get(Participant, theirs.person_id) is None
            with pytest.raises(db.NotFound):
                db.owned(Participant, theirs.person_id)


def a_row_of(theirs: Theirs) -> Participant:
    """Their participant, as it leaves their own session."""
    with db.account_scope(theirs.account_id) as session:
        return session.get_one(Participant, theirs.person_id)


def made_up(theirs: Theirs) -> Participant:
    """Made to look like theirs."""
    person = Participant(id=theirs.person_id, account_id=theirs.account_id)
    make_transient_to_detached(person)
    return person


@pytest.mark.parametrize("which", [a_row_of, made_up])
@pytest.mark.parametrize("way", [Session.add, Session.delete, Session.merge])
def test_it_takes_no_row_of_another_account_into_its_session(
    scope: Session, theirs: Theirs, which: Callable[[Theirs], Participant], way: Callable[[Session, Any], Any]
) -> None:
    person = which(theirs)
    with pytest.raises(db.CrossAccount), db.transaction():
        way(scope, person)
    assert person not in scope
    assert scope.get(Participant, theirs.person_id) is None


def test_a_row_without_an_account_becomes_its_own_or_collides(scope: Session, theirs: Theirs) -> None:
    with db.transaction():
        scope.add(mine := Suppression(address="x@friends.test", reason="added_by_hand", source="test"))
    assert mine.account_id == db.account_id()
    with pytest.raises(IntegrityError), db.transaction():
        scope.merge(
            Participant(id=theirs.person_id, campaign_id=theirs.campaign_id, email="x@b.test", referral_code="X")
        )


def test_it_gives_no_row_away(scope: Session, theirs: Theirs) -> None:
    campaign = scope.scalars(select(Campaign)).one()
    with pytest.raises(db.CrossAccount), db.transaction():
        campaign.account_id = theirs.account_id
    account = scope.scalars(select(Account)).one()
    with pytest.raises(db.CrossAccount), db.transaction():
        account.id = theirs.account_id


def test_no_row_points_into_another_account(scope: Session, theirs: Theirs) -> None:
    with pytest.raises(IntegrityError), db.transaction():
        scope.add(Participant(campaign_id=theirs.campaign_id, email="x@friends.test", referral_code="X"))


# -- what changes rows -----------------------------------------------------------------------------------------------

NAME = {"first_name": "Taken"}
CHANGES: dict[str, Any] = {
    "an update": update(Participant).values(NAME),
    "an update of what is found": update(Participant).where(Participant.email == EMAIL).values(NAME),
    "an update by keys": update(Participant).where(Participant.id.in_(select(Other.id))).values(NAME),
    "an update where there is one": update(Campaign).where(exists().where(Participant.email == EMAIL)).values(name="T"),
    "an update with rows": update(Participant).values(NAME).returning(Participant.id),
    "an update of the account": update(Account).where(Account.name == "Other").values(postal_address="T"),
    "a delete": delete(Participant),
    "a delete by keys": delete(Campaign).where(Campaign.id.in_(select(Participant.campaign_id))),
    "a delete of the account": delete(Account).where(Account.name == "Other"),
}


@pytest.mark.parametrize("way", CHANGES)
@pytest.mark.parametrize("options", [{}, {"synchronize_session": False}, {"synchronize_session": "fetch"}], ids=str)
def test_it_changes_nothing_of_another_account(
    scope: Session, theirs: Theirs, way: str, options: dict[str, Any]
) -> None:
    if way == "an update with rows" and options.get("synchronize_session") is False:
        options = {}
    with db.transaction():
        scope.execute(CHANGES[way], execution_options=options)
    with db.system_scope("tests") as everywhere:
        assert everywhere.get_one(Participant, theirs.person_id).first_name == "Kim"
        assert everywhere.get_one(Account, theirs.account_id).postal_address == ""
        assert everywhere.scalars(select(Campaign.name).order_by(Campaign.name)).all() == ["Ours", "Theirs"]


def test_a_value_that_is_selected_is_its_own(scope: Session, theirs: Theirs) -> None:
    stolen = select(Participant.email).limit(1).scalar_subquery()
    with db.transaction():
        scope.execute(update(Campaign).values(name=func.coalesce(stolen, "Nothing")))
    assert scope.scalar(select(Campaign.name)) == "Nothing"


# -- what is refused -------------------------------------------------------------------------------------------------

people = Participant.__table__
named = table("participants", column("email"), column("first_name"))
THEIRS = "(SELECT email FROM participants LIMIT 1)"
REFUSED: dict[str, Any] = {
    "text": text("SELECT email FROM participants"),
    "text as an entity": select(Participant).from_statement(text("SELECT * FROM participants")),
    "text among criteria": select(Participant).where(text("1 = 1 OR 1 = 1")),
    "text in an order": select(Campaign).order_by(text("(SELECT email FROM participants)")),
    "text as a column": select(literal_column(THEIRS)),
    "text as a column beside a class": select(Campaign.id, literal_column(THEIRS)),
    "text before the columns": select(Campaign.id).prefix_with(f"{THEIRS} AS stolen,"),
    "text in a subquery before the columns": select(select(Campaign.id).prefix_with(f"{THEIRS},").subquery().c.id),
    "text at the end": select(Campaign.slug).suffix_with("UNION SELECT email FROM participants"),
    "text as a hint": select(Campaign.id).with_statement_hint("UNION SELECT id FROM participants"),
    "text as a table's hint": select(Campaign.id).with_hint(Campaign, ", participants"),
    "text before an update": update(Campaign).prefix_with("OR IGNORE").values(name="T"),
    "a table by its name": select(named.c.email),
    "a table by its name beside a class": select(Campaign.id, named.c.email),
    "a table by its name in a subquery": select(Campaign.id).where(literal(EMAIL).in_(select(named.c.email))),
    "an update of a table by its name": named.update().values(NAME),
    "a delete of a table by its name": named.delete(),
    "an insert into a table by its name": named.insert().values(NAME),
    "a bare table": select(people),
    "a column of a bare table": select(people.c.email),
    "an alias of a bare table": select(people.alias()),
    "a bare table in a subquery": select(Campaign).where(Campaign.id.in_(select(people.c.campaign_id))),
    "a bare table in a common table": select(select(people.c.email).cte().c.email),
    "criteria alone": select(exists().where(Participant.email == EMAIL)),
    "a column in a window alone": select(func.row_number().over(order_by=Participant.email)),
    "a count of a bare table": select(Campaign.id, select(func.count()).select_from(people).scalar_subquery()),
    "a count of its alias": select(Campaign.id, select(func.count()).select_from(people.alias()).scalar_subquery()),
    "a bare table of its own class": select(Participant.id, select(func.max(people.c.email)).scalar_subquery()),
    "a join of a bare table": select(Campaign.id).select_from(people.join(Campaign, literal(value=True))),
    "an update of a bare table": people.update().values(NAME),
    "a delete of a bare table": people.delete(),
    "an update that reads a second table": (
        update(Campaign).where(Participant.campaign_id != Campaign.id).values(name=Participant.email)
    ),
    "an update that reads a second time": update(Campaign).where(aliased(Campaign).name == "Theirs").values(name="T"),
    "a delete that reads a second table": delete(Campaign).where(Participant.campaign_id != Campaign.id),
    "an insert without its account": insert(Suppression).values(address="x", reason="added_by_hand", source="test"),
    "an insert of what is selected": insert(AuditEntry).from_select(
        ["id", "account_id", "action"], select(Participant.id, Participant.account_id, Participant.email)
    ),
    "an insert into a bare table": AuditEntry.__table__.insert().values(action="x"),
    "an insert of an account": insert(Account).values(name="x"),
}  # fmt: skip


@pytest.mark.parametrize("way", REFUSED)
def test_it_refuses_what_its_criteria_do_not_reach(scope: Session, way: str) -> None:
    with pytest.raises(db.CrossAccount), db.transaction():
        scope.execute(REFUSED[way])


@pytest.mark.parametrize("many", [True, False])
def test_it_refuses_updates_by_key(scope: Session, theirs: Theirs, many: bool) -> None:
    row = {"id": theirs.person_id, **NAME}
    with pytest.raises(db.CrossAccount), db.transaction():
        scope.execute(update(Participant), [row, row] if many else [row])
    with pytest.raises(db.CrossAccount), db.transaction():
        scope.execute(update(Participant).values(NAME), execution_options={"dml_strategy": "core_only"})


MOVES: dict[str, Any] = {
    "a value": update(Participant).values(account_id=uuid.uuid4()),
    "a value by its column": update(Participant).values({Participant.account_id: uuid.uuid4()}),
    "a value in an order": update(Participant).ordered_values((Participant.account_id, uuid.uuid4())),
    "an expression": update(Participant).values(account_id=func.coalesce(uuid.uuid4(), Participant.account_id)),
    "a value that is selected": update(Participant).values(account_id=select(Account.id).scalar_subquery()),
    "the account's own key": update(Account).values(id=uuid.uuid4()),
}


@pytest.mark.parametrize("way", MOVES)
def test_it_refuses_updates_that_give_rows_away(scope: Session, way: str) -> None:
    with pytest.raises(db.CrossAccount), db.transaction():
        scope.execute(MOVES[way], execution_options={"synchronize_session": False})


def test_it_refuses_rows_given_away_by_a_parameter_or_by_an_expression(scope: Session, theirs: Theirs) -> None:
    with pytest.raises(db.CrossAccount), db.transaction():
        scope.execute(update(Campaign), {"account_id": theirs.account_id})
    campaign = scope.scalars(select(Campaign)).one()
    with pytest.raises(db.CrossAccount), db.transaction():
        campaign.account_id = literal(theirs.account_id)


def test_it_refuses_inserts_for_another_account(scope: Session, theirs: Theirs) -> None:
    row = {"id": uuid.uuid4(), "account_id": theirs.account_id, "action": "x"}
    mine = {**row, "id": uuid.uuid4(), "account_id": db.account_id()}
    for rows in (row, [row], [mine, row], {**mine, "account_id": None}):
        with pytest.raises(db.CrossAccount), db.transaction():
            scope.execute(insert(AuditEntry), rows)
    with db.transaction():
        scope.execute(insert(AuditEntry), mine)


def test_it_refuses_inserts_that_may_become_updates(scope: Session, theirs: Theirs) -> None:
    row = {"id": theirs.person_id, "account_id": db.account_id(), "action": "x"}
    dialect = postgresql if scope.get_bind().dialect.name == "postgresql" else sqlite
    upsert = dialect.insert(AuditEntry).on_conflict_do_update(index_elements=["id"], set_={"action": "taken"})
    with pytest.raises(db.CrossAccount), db.transaction():
        scope.execute(upsert, row)


def test_it_refuses_the_bulk_methods(scope: Session, theirs: Theirs) -> None:
    row = {"id": theirs.person_id, **NAME}
    for write in (
        lambda: scope.bulk_update_mappings(Participant, [row]),
        lambda: scope.bulk_insert_mappings(Participant, [row]),
        lambda: scope.bulk_save_objects([Participant(**row)]),
    ):
        with pytest.raises(db.CrossAccount), db.transaction():
            write()


def test_what_is_inserted_as_selected_is_selected_of_its_own(scope: Session, theirs: Theirs) -> None:
    columns = Campaign.id.label("id"), Campaign.name.label("address"), Campaign.made_at.label("made_at")
    rows = select(*columns, literal("added_by_hand").label("reason"), literal("").label("source"))
    beside = (
        rows.where(exists().where(Participant.email == EMAIL)),
        rows.where(Campaign.id.in_(select(Participant.campaign_id))),
        rows.where(literal(EMAIL).in_(select(Other.email))),
    )
    with db.transaction():
        for stolen in beside:
            assert db.insert_selected(Suppression, stolen) == 0
        assert db.insert_selected(Suppression, rows) == 1


def test_a_lazy_load_leads_to_no_other_account(world: World, theirs: Theirs) -> None:
    with world.acme_scope() as scope:
        user = scope.scalars(select(User).where(User.email == "member@acme.test")).one()
        assert user.account.name == "Acme"
        scope.expire(user)
        assert user.account.name == "Acme"


def test_what_asks_the_database_without_an_account_needs_a_scope(world: World) -> None:
    with pytest.raises(db.NoScope):
        add_api_key("x")
    for ask in (db.session, db.account_id):
        with pytest.raises(db.NoScope):
            ask()
    with db.system_scope("tests"), pytest.raises(db.NoScope):
        db.account_id()


def test_it_may_ask_what_is_of_no_account(scope: Session) -> None:
    assert scope.scalar(select(db.clock())) is not None
    with pytest.raises(SQLAlchemyError):
        scope.execute(select(func.no_such_function(1)))
