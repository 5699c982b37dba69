"""The files that ``snorky serve`` has beside services: the JavaScript client, and pages."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

STATIC_FILES = Path(__file__).parent.parent / "static"

MAX_BYTES_AT_ONCE = 1024 * 1024
"""Files up to this size are read before they are sent: who reads them slowly keeps none open."""

Route = tuple[str, type[RequestHandler], dict[str, Any]]


def check_pages(path: Path) -> None:
    if path.is_dir() and not (path / "index.html").is_file():
        raise click.ClickException(f"{path} is a folder of pages without an index.html.")


def routes_of(pages: Path | None) -> list[Route]:
    """The client at ``/static``; ``pages``, a file or a folder, at ``/``."""
    routes: list[Route] = [(r"/static/([\w.-]+)", ClientFiles, {"path": str(STATIC_FILES)})]
    if pages is not None and pages.is_dir():
        options = {"path": str(pages.resolve()), "default_filename": "index.html"}
        routes.append(("/(.*)", Pages, options))
    elif pages is not None:
        routes += [("/", OnePage, {"file": pages}), ("/favicon.ico", NoIcon, {})]
    return routes


class _Files(StaticFileHandler):
    def set_extra_headers(self, path: str) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")

    @classmethod
    def get_content(
        cls, abspath: str, start: int | None = None, end: int | None = None
    ) -> Generator[bytes, None, None]:
        begin = start or 0
        size = (Path(abspath).stat().st_size if end is None else end) - begin
        if size > MAX_BYTES_AT_ONCE:
            yield from super().get_content(abspath, start, end)
            return
        with Path(abspath).open("rb") as file:
            file.seek(begin)
            content = file.read(size)
        yield content


class ClientFiles(_Files):
    """The JavaScript client, for pages of any origin."""

    def set_extra_headers(self, path: str) -> None:
        super().set_extra_headers(path)
        self.set_header("Access-Control-Allow-Origin", "*")


class Pages(_Files):
    """A folder. What is hidden, and programs, are not served: they may lie beside the pages."""

    def set_extra_headers(self, path: str) -> None:
        super().set_extra_headers(path)
        self.set_header("Cache-Control", "no-cache")

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        names = Path(absolute_path).relative_to(root).parts if absolute_path != root else ()
        if any(name.startswith((".", "__")) or name.endswith(".py") for name in names):
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)

    def compute_etag(self) -> str | None:
        """Of the file as it is now: Tornado keeps the first one."""
        assert self.absolute_path is not None
        status = Path(self.absolute_path).stat()
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


class NoIcon(RequestHandler):
    """Browsers ask for one; it would be the first warning that a newcomer reads."""

    def get(self) -> None:
        self.set_status(204)


class OnePage(RequestHandler):
    """One file, at ``/``."""

    def initialize(self, file: Path) -> None:
        self._file = file

    def get(self) -> None:
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise HTTPError(404) from error
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-cache")
        self.finish(content)

    head = get
