"""The demo's own small web application: it lets people in, and remembers them by a signed cookie.

A name is enough here. Yours has passwords, or somebody who vouches for people.
"""

import json
import re
import secrets

from tornado.web import HTTPError, RequestHandler, create_signed_value, decode_signed_value

from snorky.identity import origin_allowed

COOKIE = "visitor"
SECRET = secrets.token_urlsafe(32)  # of this run: whoever was logged in before has to do it again
DAYS = 7
NAME = re.compile(r"\w|\w[\w .'-]{0,22}\w")


def visitor(cookies):
    """The name of whoever sends these cookies, or None."""
    name = decode_signed_value(SECRET, COOKIE, cookies.get(COOKIE), max_age_days=DAYS)
    return None if name is None else name.decode()


class VisitorHandler(RequestHandler):
    """``GET`` says who is logged in, ``POST`` logs in, ``DELETE`` logs out."""

    def initialize(self, frontend):
        self.frontend = frontend

    def prepare(self):
        # Nobody logs visitors in or out from a page of another site.
        if not origin_allowed(self.request.headers.get("Origin"), self.request.host):
            raise HTTPError(403)
        self.name = visitor({name: morsel.value for name, morsel in self.cookies.items()})

    def get(self):
        self.finish({"name": self.name})

    def post(self):
        try:
            name = json.loads(self.request.body)["name"].strip()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise HTTPError(400) from None
        if not NAME.fullmatch(name):
            self.set_status(400)
            self.finish({"error": "A name has 1 to 24 letters, digits, spaces or . ' -"})
            return
        value = create_signed_value(SECRET, COOKIE, name)
        self.set_cookie(COOKIE, value, expires_days=DAYS, httponly=True, samesite="Lax")
        self.finish({"name": name})

    def delete(self):
        self.clear_cookie(COOKIE)
        if self.name is not None:
            # A connection stays who it was at its handshake: end those of all windows.
            self.frontend.disconnect(self.name)
        self.finish({"name": None})
