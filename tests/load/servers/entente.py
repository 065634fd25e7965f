"""Entente: one node for each domain, or a cluster of three. ENTENTE_BIN names the binary."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import secrets
import socket
import time

from .base import PASSWORD, PREFIX, Instance

BINARY = os.environ.get("ENTENTE_BIN", "")

# A node alone makes the secrets of its cluster itself. Limits that only a test meets are off.
CONFIG = """
[node]
id = "{node}"
host = "{host}"
data_dir = "{directory}/data"
public_addresses = ["{address}"]
roles = {roles}
threads = {threads}
[cluster]
listen = "{address}"
advertise = "{address}"
{cluster}[client]
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
{sip}"""


CLUSTER = """seeds = {seeds}
key_file = "{key}"
ca_file = "{ca}"
ca_key_file = "{ca_key}"
bootstrap = {bootstrap}
"""
ADMIN = 9290


class Entente(Instance):
    accounts_while_running = True
    node, host, cluster = "n1", None, ""
    # Further tables of the configuration; SIP is off without them.
    sip = ""
    # One for each core.
    threads = 0

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
            domain=self.domain, node=self.node, host=self.host or self.domain,
            cluster=self.cluster, sip=self.sip.format(address=self.address),
            threads=self.threads, roles=json.dumps(["home", "client", "xmpp"] + ["sip"] * bool(self.sip))))

    def command(self):
        return [BINARY, "run", "--config", str(self.config)], {}

    def create_accounts(self, count):
        """Over the administration port, as `entente user add` does, but in one process."""
        self.wait_for_admin()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self._add, range(1, count + 1)))

    def wait_for_admin(self):
        """Clients are served a moment before the administration is."""
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.address, ADMIN), timeout=2).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def admin(self, method, path, body=None):
        """(status, text) of a request to the administration."""
        connection = http.client.HTTPConnection(self.address, ADMIN, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def _add(self, number):
        body = json.dumps({"jid": f"{PREFIX}{number}@{self.domain}", "password": PASSWORD})
        status, text = self.admin("POST", "/users", body)
        if status != 201:
            raise RuntimeError(f"user {number}: {status} {text}")


class EntenteCluster(Entente):
    """Three nodes that serve one domain, at the given address and the two after it."""

    NODES = 3

    def __init__(self, directory, domain, address, authority, name_server):
        super().__init__(directory, domain, address, authority, name_server)
        self.nodes = []
        for number, place in enumerate(self.addresses(address), 1):
            node = Entente(self.directory, domain, place, authority, name_server)
            node.node, node.host = f"n{number}", f"n{number}.{domain}"
            # All nodes are on this machine: each gets its part of the cores.
            node.threads = max(1, os.cpu_count() // self.NODES)
            node.directory = self.directory / node.node
            node.directory.mkdir(exist_ok=True)
            self.nodes.append(node)

    @staticmethod
    def addresses(address):
        base, last = address.rsplit(".", 1)
        return [f"{base}.{int(last) + n}" for n in range(EntenteCluster.NODES)]

    def clients(self):
        return [client for node in self.nodes for client in node.clients()]

    def pids(self):
        return [node.process.pid for node in self.nodes]

    def write_config(self):
        key = self.directory / "cluster.key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        for node in self.nodes:
            node.cluster = CLUSTER.format(
                seeds=json.dumps([f"{place}:7946" for place in self.addresses(self.address)]),
                key=key, ca=self.authority.certificate, ca_key=self.authority.key,
                bootstrap=json.dumps(node is self.nodes[0]))
            node.write_config()

    def start(self):
        """Starts the nodes that do not run; done when every node counts all as serving."""
        begin = time.monotonic()
        for node in self.nodes:
            if node.process is None:
                node.start()
        for node in self.nodes:
            node.wait_for_admin()
            while node.admin("GET", "/status")[1].count('"standing":"serving"') < self.NODES:
                if time.monotonic() > begin + 60:
                    raise RuntimeError(f"{self.domain} is no cluster:\n{self.log_tail()}")
                time.sleep(0.02)
        self.start_seconds = time.monotonic() - begin

    def create_accounts(self, count):
        self.nodes[0].create_accounts(count)

    def stop(self):
        for node in self.nodes:
            node.stop()

    def kill(self):
        """The last node crashes."""
        self.nodes[-1].kill()
        self.nodes[-1].process = None

    def log_tail(self):
        return "\n".join(node.log_tail() for node in self.nodes)
