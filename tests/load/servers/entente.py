"""Entente, one node for each domain; the binary is named by ENTENTE_BIN."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import socket
import time

from .base import PASSWORD, PREFIX, Instance

BINARY = os.environ.get("ENTENTE_BIN", "")

# A node alone makes the secrets of its cluster itself. Limits that only a test meets are off.
CONFIG = """
[node]
id = "n1"
host = "{domain}"
data_dir = "{directory}/data"
public_addresses = ["{address}"]
roles = ["home", "client", "xmpp"]
[cluster]
listen = "{address}"
advertise = "{address}"
[client]
listen = ["{address}:{c2s}"]
direct_tls_listen = ["{address}:5223"]
max_unauthenticated_per_address = 100000
[xmpp]
listen = ["{address}:{s2s}"]
direct_tls_listen = ["{address}:5270"]
trusted_ca_file = "{ca}"
resolver = ["{dns_address}:{dns_port}"]
[federation]
messages_per_second = 1000000
[admin]
listen = "{address}:9290"
[log]
level = "warn"
[domains."{domain}"]
certificate_file = "{certificate}"
private_key_file = "{key}"
"""


class Entente(Instance):
    accounts_while_running = True

    @staticmethod
    def available():
        return bool(BINARY) and pathlib.Path(BINARY).exists()

    @property
    def config(self):
        return self.directory / "entente.toml"

    def write_config(self):
        self.config.write_text(CONFIG.format(
            directory=self.directory, address=self.address, c2s=self.c2s, s2s=self.s2s,
            dns_address=self.name_server.address, dns_port=self.name_server.port,
            certificate=self.certificate, key=self.key, ca=self.authority.certificate,
            domain=self.domain))

    def command(self):
        return [BINARY, "run", "--config", str(self.config)], {}

    def create_accounts(self, count):
        """Over the administration port, as `entente user add` does, but in one process."""
        # Clients are served a moment before the administration is.
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.address, 9290), timeout=2).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self._add, range(1, count + 1)))

    def _add(self, number):
        body = json.dumps({"jid": f"{PREFIX}{number}@{self.domain}", "password": PASSWORD})
        admin = http.client.HTTPConnection(self.address, 9290, timeout=60)
        try:
            admin.request("POST", "/users", body, {"Content-Type": "application/json"})
            answer = admin.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            admin.close()
        if answer.status != 201:
            raise RuntimeError(f"user {number}: {answer.status} {text}")
