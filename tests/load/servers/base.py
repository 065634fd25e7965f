"""What every kind of server has in common: two instances that federate, started and stopped."""

import os
import pathlib
import signal
import socket
import subprocess
import time

PASSWORD = "load"
PREFIX = "u"


class Instance:
    """One server process for one domain on one loopback address."""

    def __init__(self, directory: pathlib.Path, domain, address, authority, name_server):
        self.directory = directory / domain
        self.directory.mkdir(parents=True, exist_ok=True)
        self.domain, self.address = domain, address
        self.c2s, self.s2s = 5222, 5269
        self.authority = authority
        self.certificate, self.key, self.pem = authority.issue(domain)
        self.name_server = name_server
        self.peer = None
        self.process = None
        self.start_seconds = None

    # For each kind to fill in.

    def write_config(self):
        """Writes the configuration files."""
        raise NotImplementedError

    def command(self):
        """(arguments, extra environment) of the server in the foreground."""
        raise NotImplementedError

    def create_accounts(self, count):
        """Creates PREFIX1 to PREFIXcount; called once, before the first start or after it,
        as `accounts_while_running` says."""
        raise NotImplementedError

    accounts_while_running = False

    @staticmethod
    def addresses(address):
        """Where the peer finds the domain that lives at `address`."""
        return [address]

    def clients(self):
        """Where clients connect."""
        return [f"{self.address}:{self.c2s}"]

    def pids(self):
        """The processes to watch; descendants count without being named."""
        return [self.process.pid]

    # The rest is the same for all.

    def start(self):
        arguments, environment = self.command()
        # Our own variables (ENTENTE_BIN, ENTENTE_LOAD) would be taken for a node's settings.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ENTENTE_")}
        log = open(self.directory / "stdout.log", "ab")
        begin = time.monotonic()
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**inherited, **environment}, cwd=self.directory, start_new_session=True)
        log.close()
        self._wait_for_features(begin + 60)
        self.start_seconds = time.monotonic() - begin

    def _wait_for_features(self, deadline):
        header = (f"<stream:stream to='{self.domain}' version='1.0' xmlns='jabber:client' "
                  "xmlns:stream='http://etherx.jabber.org/streams'>").encode()
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.domain} ended at once:\n{self.log_tail()}")
            try:
                with socket.create_connection((self.address, self.c2s), timeout=2) as s:
                    s.sendall(header)
                    received = b""
                    while b"</stream:features>" not in received:
                        part = s.recv(4096)
                        if not part:
                            break
                        received += part
                    else:
                        s.sendall(b"</stream:stream>")
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.domain} gives no stream features:\n{self.log_tail()}")
            time.sleep(0.01)

    def stop(self):
        if self.process is None:
            return
        # The process group is the one begun for this server: its helpers go with it.
        group = self.process.pid
        for sig, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(group, sig)
            except ProcessLookupError:
                break
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process = None

    def kill(self):
        """Ends the server as a crash does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def log_tail(self):
        lines = []
        for log in sorted(self.directory.glob("*.log")):
            lines += [f"--- {log.name}"] + log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join(lines)


class Pair:
    """Two instances that federate."""

    def __init__(self, label, a: Instance, b: Instance):
        self.label, self.a, self.b = label, a, b
        a.peer, b.peer = b, a
        self.prepared = False

    def start(self, accounts):
        for instance in (self.a, self.b):
            if not self.prepared:
                instance.write_config()
                if not instance.accounts_while_running:
                    instance.create_accounts(accounts)
            instance.start()
            if not self.prepared and instance.accounts_while_running:
                instance.create_accounts(accounts)
        self.prepared = True

    def stop(self):
        for instance in (self.a, self.b):
            instance.stop()
