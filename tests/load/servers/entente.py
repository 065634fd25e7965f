"""Entente, one node for each domain; the binary is named by ENTENTE_BIN."""

import os
import pathlib
import subprocess

from .base import PASSWORD, PREFIX, Instance

BINARY = os.environ.get("ENTENTE_BIN", "")


class Entente(Instance):
    accounts_while_running = True

    @staticmethod
    def available():
        return bool(BINARY) and pathlib.Path(BINARY).exists()

    @property
    def config(self):
        return self.directory / "entente.toml"

    def write_config(self):
        raise NotImplementedError("waits for the node's configuration format")

    def command(self):
        return [BINARY, "run", "--config", str(self.config)], {}

    def create_accounts(self, count):
        script = pathlib.Path(__file__).resolve().parent.parent / "accounts-entente"
        subprocess.run([script, BINARY, str(self.config), self.domain, PREFIX, str(count), PASSWORD],
                       check=True, stdout=subprocess.DEVNULL)
