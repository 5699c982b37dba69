"""A filter as a condition of SQLAlchemy."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import DateTime, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from snorky.filters import field, to_sqlalchemy


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None]
    due: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


late = (field("due") < "2026-06-01T00:00:00+02:00") & ~(field("price") == "0")

engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add(Order(id=1, price=Decimal("9.50"), due=datetime(2026, 5, 31, 21, 59)))
    session.add(Order(id=2, price=Decimal("9.50"), due=datetime(2026, 5, 31, 22, 0)))
    session.add(Order(id=3, price=None, due=datetime(2026, 1, 1)))
    print(session.scalars(select(Order.id).where(to_sqlalchemy(late, Order))).all())  # [1, 3]
