"""SQLAlchemy's ORM over sqlalchemy-rqlite. Reflection is left out: it is broken in the dialect itself."""

import datetime
import pathlib
import sys

import sqlalchemy as sa
from sqlalchemy import orm

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from cluster_link import kill_leader, lone, three

TEXT = """it's "quoted" ünïcödé 😀 <b>&amp;</b>"""


class Base(orm.DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owner"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(40), nullable=False, unique=True)
    born = sa.Column(sa.Date)
    balance = sa.Column(sa.Float)
    is_vip = sa.Column(sa.Boolean)
    big = sa.Column(sa.BigInteger)
    pets = orm.relationship("Pet", back_populates="owner", order_by="Pet.id", cascade="all, delete-orphan")


class Pet(Base):
    __tablename__ = "pet"
    id = sa.Column(sa.Integer, primary_key=True)
    nick = sa.Column(sa.Text)
    pic = sa.Column(sa.LargeBinary)
    owner_id = sa.Column(sa.Integer, sa.ForeignKey("owner.id"), nullable=False)
    owner = orm.relationship("Owner", back_populates="pets")


def engine_of(address):
    # native_datetime: pyrqlite makes dates of a DATE column's values by itself.
    return sa.create_engine(f"rqlite+pyrqlite://{address}/", poolclass=sa.pool.NullPool, native_datetime=True)


def insert(engine):
    # Without checkfirst: asking which tables exist is the dialect's broken reflection.
    Base.metadata.create_all(engine, checkfirst=False)
    with orm.Session(engine) as session:
        ada = Owner(name="Ada", born=datetime.date(1990, 5, 6), balance=2.5, is_vip=True, big=2**53 + 1)
        ada.pets = [Pet(nick=TEXT, pic=bytes(range(256))), Pet(nick=None, pic=b"")]
        session.add(ada)
        session.add(Owner(name="Bob"))
        session.commit()
        assert ada.id == 1 and [pet.id for pet in ada.pets] == [1, 2]


def load(engine):
    with orm.Session(engine) as session:
        ada = session.scalars(sa.select(Owner).where(Owner.name == "Ada")).one()
        assert ada.balance == 2.5 and ada.is_vip is True and ada.big == 2**53 + 1
        assert ada.born == datetime.date(1990, 5, 6), ada.born
        assert [(pet.nick, pet.pic) for pet in ada.pets] == [(TEXT, bytes(range(256))), (None, b"")]
        assert ada.pets[0].owner is ada
        bob = session.scalars(sa.select(Owner).where(Owner.name == "Bob")).one()
        assert (bob.balance, bob.is_vip, bob.big, bob.born, bob.pets) == (None, None, None, None, [])
        eager = session.scalars(sa.select(Owner).options(orm.joinedload(Owner.pets))).unique().all()
        assert sorted(len(owner.pets) for owner in eager) == [0, 2]
        total = session.execute(sa.select(sa.func.count(), sa.func.max(Pet.id)).select_from(Pet)).one()
        assert tuple(total) == (2, 2), total


def update_and_delete(engine):
    with orm.Session(engine) as session:
        ada = session.get(Owner, 1)
        ada.balance = 3.0
        ada.pets.pop()
        session.commit()
        assert session.get(Owner, 1).balance == 3.0
        changed = session.execute(sa.update(Owner).where(Owner.id < 3).values(is_vip=False))
        assert changed.rowcount == 2, changed.rowcount
        session.delete(session.get(Owner, 2))
        session.commit()
        assert session.scalars(sa.select(Owner.name)).all() == ["Ada"]
        assert session.scalars(sa.select(Pet.id)).all() == [1]


def transaction(engine):
    """The dialect commits each statement; executemany is its one transaction, and it is all or nothing."""
    with engine.begin() as connection:
        connection.execute(sa.insert(Owner), [{"name": "Cy"}, {"name": "Di"}])
    with engine.begin() as connection:
        connection.execute(sa.insert(Owner), [{"name": "Ed"}, {"name": "Ada"}, {"name": "Flo"}])
        names = connection.execute(sa.select(Owner.name).order_by(Owner.name)).scalars().all()
        assert names == ["Ada", "Cy", "Di"], names


def errors(engine):
    with orm.Session(engine) as session:
        session.add(Owner(name="Ada"))
        try:
            session.commit()
        except sa.exc.DBAPIError as error:
            assert "UNIQUE constraint failed: owner.name" in str(error), error
        else:
            raise AssertionError("a second Ada was stored")


def failover(addresses):
    engine = engine_of(addresses[1])
    kill_leader()
    with orm.Session(engine) as session:
        session.add(Owner(name="after"))
        session.commit()
        assert session.scalars(sa.select(Owner).where(Owner.name == "after")).one().id


def main():
    for address in (lone(), three()[1]):
        engine = engine_of(address)
        insert(engine)
        load(engine)
        update_and_delete(engine)
        transaction(engine)
        errors(engine)
    failover(three())


main()
