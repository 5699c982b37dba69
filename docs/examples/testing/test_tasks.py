"""A Django project that publishes, with a real Snorky: tasks/tests.py

For ./manage.py test: the project is the one of the chapter on Django.
"""

import json
import re
import subprocess
import sys

from django.test import TransactionTestCase, override_settings
from tasks.models import Task
from websockets.sync.client import connect

import snorky.backend.django as publishing


class Publishing(TransactionTestCase):
    """TestCase never commits, and what is not committed is not published."""

    def setUp(self):
        command = [sys.executable, "-m", "snorky", "serve", "live.py"]
        ports = ["--port", "0", "--backend-port", "0"]
        self.server = subprocess.Popen([*command, *ports], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        self.socket_url = self.printed(r"ws://\S+")
        backend_url = self.printed(r"http://\S+") + "/backend"
        settings = override_settings(SNORKY_BACKEND_URL=backend_url)
        settings.enable()
        self.addCleanup(settings.disable)

    def printed(self, pattern):
        for line in self.server.stderr:
            if found := re.search(pattern, line):
                return found[0]
        raise AssertionError("The server has ended")

    def stop(self):
        self.server.terminate()
        self.server.communicate(timeout=20)

    def test_a_page_with_the_list_hears_of_a_new_task(self):
        answer = self.client.get("/api/tasks/", headers={"X-Snorky": "Subscribe"})
        params = {"token": answer["X-Subscription-Token"]}
        message = {"command": "acquireSubscription", "params": params, "callId": 1}
        with connect(self.socket_url) as page:
            page.send(json.dumps({"service": "datasync", "message": message}))
            json.loads(page.recv(timeout=20))
            Task.objects.create(title="Write tests")
            delta = json.loads(page.recv(timeout=20))["message"]["delta"]
        assert delta["data"]["title"] == "Write tests"
        assert publishing.failures.deltas == 0
