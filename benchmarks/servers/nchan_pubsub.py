"""Pub/sub on nchan, a module of nginx: publishers and subscribers speak WebSocket to it.

Set up as nchan's README and nginx's manual allow for fan-out: one worker for the one core, in
memory, no stored messages (``nchan_store_messages off``), no compression and no pings (the
defaults), no access log. It has nothing like a call.
"""

import argparse
import json
import os
import re
import resource
import sys
import urllib.request
from pathlib import Path

import child

MAX_FILES = 65_536
"""nginx allocates its connections at start: enough, and not what an unlimited system allows."""
CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log stderr warn;
events {{
  worker_connections {connections};
}}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /status {{
      nchan_stub_status;
    }}
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_store_messages off;
    }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher websocket;
      nchan_channel_id $1;
      nchan_store_messages off;
    }}
  }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nginx", help="the program")
    parser.add_argument("module", type=Path, help="ngx_nchan_module.so")
    parser.add_argument("prefix", type=Path, help="a directory for its temporary files")
    parser.add_argument("--libraries", default="", help="a directory of libraries that it needs")
    arguments = parser.parse_args()
    arguments.prefix.mkdir(exist_ok=True)
    port = int(os.environ.get("PORT", 0)) or child.free_port()
    # In a file without a name: several servers may run at once, and all of them are killed.
    configuration = os.memfd_create("nginx.conf", 0)
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MAX_FILES)
    text = CONFIGURATION.format(
        module=arguments.module,
        files=files,
        connections=2 * files,  # it turns clients away when a sixteenth is left
        port=port,
    )
    os.write(configuration, text.encode())

    def versions() -> dict[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            text = f"{answer.headers['Server']}\n{answer.read().decode()}"
        return {name: found(f"{name}(?: version: |/)(\\S+)", text) for name in ("nchan", "nginx")}

    command = [arguments.nginx, "-e", "stderr", "-p", f"{arguments.prefix}/"]
    nginx, answer = child.start(
        [*command, "-c", f"/proc/{os.getpid()}/fd/{configuration}"],
        versions,
        environment={"LD_LIBRARY_PATH": arguments.libraries} if arguments.libraries else {},
    )
    print(json.dumps({"port": port, "versions": answer}), flush=True)
    sys.exit(nginx.wait())


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "unknown"


if __name__ == "__main__":
    main()
