"""What the proxies of the manual need around their files, to run as a user's programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

NGINX = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include live.conf;
}
"""
CADDY = """{
	admin off
	auto_https disable_redirects
}
"""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for 127.0.0.1, as files."""
    key, certificate = folder / "live.key", folder / "live.pem"
    command = "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec"
    options = "-pkeyopt ec_paramgen_curve:prime256v1 -addext subjectAltName=IP:127.0.0.1"
    outputs = ["-keyout", str(key), "-out", str(certificate)]
    done = subprocess.run([*command.split(), *options.split(), *outputs], capture_output=True)
    assert done.returncode == 0, done.stderr
    return key, certificate
