"""An office with an edge in front of it, and its visitors."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2

from tests.conftest import Certificate
from tests.edges.edge import Ask, Edge, Served, ask
from tests.edges.office import Office
from tests.edges.pages import DEADLINE, Browser, Page


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the server does a little later."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.002)


async def start_browser(edge: Edge, certificate: Certificate, folder: Path) -> Browser:
    """One whose pages trust the certificate where the edge has TLS."""
    if not edge.tls:
        return await Browser.start(edge.program)
    (authority,) = certificate.client.get_ca_certs(binary_form=True)
    file = folder / "authority.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(authority))
    return await Browser.start(edge.program, NODE_EXTRA_CA_CERTS=str(file))


class Site:
    """Served when the first one comes: until then a test may change what it is served with."""

    http: httpx2.AsyncClient
    """For requests by hand."""

    def __init__(self, edge: Edge, browser: Browser, certificate: Certificate) -> None:
        self.office = Office()
        self.allowed_origins: Sequence[str] | None = None
        self.disconnect_delay = 60.0
        self._edge = edge
        self._browser = browser
        self._certificate = certificate
        self._served: Served | None = None
        self._pages: list[Page] = []

    async def served(self) -> Served:
        if self._served is None:
            self._served = await self._edge.serve(
                self.office.registry,
                allowed_origins=self.allowed_origins,
                disconnect_delay=self.disconnect_delay,
                certificate=self._certificate,
            )
            self.http = httpx2.AsyncClient(
                base_url=self._served.root,
                verify=self._served.client_tls or False,
                timeout=DEADLINE,
                trust_env=False,
            )
        return self._served

    async def knock(
        self,
        user: str | None = None,
        source: str = "header",
        *,
        origin: str | None = None,
        browser: Browser | None = None,
    ) -> Page:
        """A page that begins to connect, and may be refused."""
        url, options = self._edge.visit((await self.served()).url, user, source, origin)
        page = await (browser or self._browser).visit(url, options)
        if browser is None:
            self._pages.append(page)
        return page

    async def visit(
        self,
        user: str | None = None,
        source: str = "header",
        *,
        origin: str | None = None,
        browser: Browser | None = None,
    ) -> Page:
        """A page that is connected, and was greeted."""
        page = await self.knock(user, source, origin=origin, browser=browser)
        await page.hears(1, "desk")
        assert page.opened
        return page

    async def ask(self, asked: Ask, **headers: str) -> httpx2.Response:
        await self.served()
        return await ask(self.http, asked, **headers)

    async def sit_still(self) -> None:
        """A client that reads nothing of what it is sent."""
        served = await self.served()
        await self._edge.sit_still(served, self.http)

    async def close(self) -> None:
        """Everybody leaves, and has left once."""
        if self._served is None:
            return
        for page in self._pages:
            await page.leave()
        self._browser.forget_pages()
        for client in tuple(self.office.registry.clients):
            client.close()  # some edges wait for a while before they take a client for gone
        try:
            await until(lambda: not self.office.registry.clients)
            desk = self.office.desk
            assert Counter(desk.left) == Counter(desk.came)
        finally:
            await self.http.aclose()
            await self._served.close()
