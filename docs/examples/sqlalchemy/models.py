"""The rows, and what pages see of them."""

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from snorky.backend.sqlalchemy import subscribable


class Base(DeclarativeBase):
    pass


class TaskOut(BaseModel):
    """A task as the API answers it, and as changes of it are told."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    team: int
    title: str
    done: bool


@subscribable(render=lambda task: TaskOut.model_validate(task).model_dump(mode="json"))
class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    team: Mapped[int]
    title: Mapped[str]
    done: Mapped[bool] = mapped_column(default=False)
