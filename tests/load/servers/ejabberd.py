"""ejabberd with the modules that match what the others load, and no shapers.

It runs without Erlang distribution: no epmd is left behind, and accounts come in at the start.
"""

import os
import pathlib
import shutil
import subprocess

from .base import PASSWORD, PREFIX, Instance

CONFIG = """
loglevel: warning
hosts: ["{domain}"]
certfiles: ["{pem}"]
ca_file: "{ca}"
listen:
  - port: {c2s}
    ip: "{address}"
    module: ejabberd_c2s
    starttls_required: true
    max_stanza_size: 262144
  - port: {s2s}
    ip: "{address}"
    module: ejabberd_s2s_in
    max_stanza_size: 524288
s2s_use_starttls: required
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
  c2s:
    allow: all
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: infinity
modules:
  mod_blocking: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_privacy: {{}}
  mod_roster: {{versioning: true}}
  mod_stream_mgmt: {{}}
  mod_time: {{}}
  mod_version: {{}}
"""

RESOLVER = """
{{lookup, [dns]}}.
{{resolv_conf, "/dev/null"}}.
{{hosts_file, "/dev/null"}}.
{{nameserver, {address}, {port}}}.
{{timeout, 1000}}.
{{retry, 2}}.
"""


class Ejabberd(Instance):
    @staticmethod
    def available():
        return shutil.which("ejabberdctl") is not None and shutil.which("erl") is not None

    def write_config(self):
        (self.directory / "ejabberd.yml").write_text(CONFIG.format(
            domain=self.domain, pem=self.pem, ca=self.authority.certificate, c2s=self.c2s,
            s2s=self.s2s, address=self.address))
        address = "{" + self.name_server.address.replace(".", ",") + "}"
        (self.directory / "inetrc").write_text(RESOLVER.format(
            address=address, port=self.name_server.port))

    def create_accounts(self, count):
        script = pathlib.Path(__file__).resolve().parent.parent / "accounts-xml"
        with open(self.directory / "accounts.xml", "w") as file:
            subprocess.run([script, self.domain, PREFIX, str(count), PASSWORD],
                           check=True, stdout=file)

    def command(self):
        arguments = ["erl", "-noinput", "+K", "true", "+P", "250000", "-env", "ERL_CRASH_DUMP_BYTES",
                     "0", "-mnesia", "dir", f'"{self.directory}/spool"', "-s", "ejabberd"]
        accounts = self.directory / "accounts.xml"
        if accounts.exists():
            # Once: Mnesia keeps them for the next start.
            importing = self.directory / "importing.xml"
            accounts.rename(importing)
            arguments += ["-eval", f'ok = ejabberd_piefxis:import_file("{importing}")']
        libs = next(pathlib.Path("/usr/lib").glob("*-linux-gnu/ejabberd-*")).parent
        return arguments, {
            "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
            "ERL_INETRC": str(self.directory / "inetrc"),
            "ERL_LIBS": str(libs),
            "ERL_MAX_PORTS": "65536",
            "HOME": os.environ.get("HOME", "/root"),
        }
