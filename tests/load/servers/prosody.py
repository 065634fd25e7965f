"""Prosody, tuned: Nagle off, generational garbage collection, no rate limits."""

import pathlib
import shutil
import subprocess

from .base import PASSWORD, PREFIX, Instance

MODULES = pathlib.Path(__file__).resolve().parent / "prosody-modules"

CONFIG = """
run_as_root = true
daemonize = false
certificates = "{directory}/data"
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
plugin_paths = {{ "{modules}" }}
log = {{ warn = "{directory}/prosody.log" }}
interfaces = {{ "{address}" }}
local_interfaces = {{ "{address}" }}
c2s_ports = {{ {c2s} }}
s2s_ports = {{ {s2s} }}
component_ports = {{}}
http_ports = {{}}
https_ports = {{}}
network_settings = {{ nagle = false }}
gc = {{ mode = "generational" }}
-- Without the last option libunbound refuses servers on loopback addresses.
unbound = {{
    resolvconf = false;
    hoststxt = false;
    forward = {{ "{dns_address}@{dns_port}" }};
    options = {{ ["do-not-query-localhost:"] = "no" }};
}}
modules_enabled = {{
    "roster"; "saslauth"; "tls"; "disco"; "carbons"; "blocklist"; "ping"; "time"; "version";
    "smacks";
}}
modules_disabled = {{ "s2s_auth_dane" }}
authentication = "internal_hashed"
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = true
ssl = {{ certificate = "{certificate}"; key = "{key}"; cafile = "{ca}"; capath = ""; }}
VirtualHost "{domain}"
"""


class Prosody(Instance):
    @staticmethod
    def available():
        return shutil.which("prosody") is not None

    @property
    def config(self):
        return self.directory / "prosody.cfg.lua"

    def write_config(self):
        (self.directory / "data").mkdir(exist_ok=True)
        self.config.write_text(CONFIG.format(
            directory=self.directory, modules=MODULES, address=self.address, c2s=self.c2s,
            s2s=self.s2s, dns_address=self.name_server.address, dns_port=self.name_server.port,
            certificate=self.certificate, key=self.key, ca=self.authority.certificate,
            domain=self.domain))

    def command(self):
        return ["prosody", "-F", "--config", str(self.config)], {}

    def create_accounts(self, count):
        script = pathlib.Path(__file__).resolve().parent.parent / "accounts-prosody"
        subprocess.run([script, str(self.config), self.domain, PREFIX, str(count), PASSWORD],
                       check=True, stdout=subprocess.DEVNULL)
