"""Messages between people, by the names they chose."""

import re

from snorky import ServiceRegistry
from snorky.services.messaging import MessagingService


class Messages(MessagingService):
    def is_name_allowed(self, client, name):
        return re.fullmatch(r"\w{1,20}", name) is not None


frontend = ServiceRegistry([Messages("messaging")])
