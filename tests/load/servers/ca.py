"""A throw-away certificate authority: certificates with nothing but DNS names.

ejabberd 23.01 crashes on a peer certificate with an id-on-xmppAddr name, so there is none.
"""

import pathlib
import subprocess


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


class Authority:
    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.pem"
        self.key = directory / "ca.key"
        self._key(self.key)
        openssl("req", "-x509", "-new", "-key", str(self.key), "-out", str(self.certificate),
                "-days", "2", "-subj", "/CN=load test CA",
                "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, domain):
        """(certificate, key, both in one file), usable as server and as client."""
        certificate = self.directory / f"{domain}.crt"
        key = self.directory / f"{domain}.key"
        request = self.directory / f"{domain}.csr"
        extensions = self.directory / f"{domain}.ext"
        both = self.directory / f"{domain}.pem"
        self._key(key)
        extensions.write_text(
            f"subjectAltName=DNS:{domain}\nbasicConstraints=CA:FALSE\n"
            "keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-new", "-key", str(key), "-subj", f"/CN={domain}", "-out", str(request))
        openssl("x509", "-req", "-in", str(request), "-CA", str(self.certificate),
                "-CAkey", str(self.key), "-CAcreateserial", "-days", "2",
                "-extfile", str(extensions), "-out", str(certificate))
        both.write_text(key.read_text() + certificate.read_text())
        for file in (key, both):
            file.chmod(0o600)
        return certificate, key, both

    @staticmethod
    def _key(path):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-out", str(path))
        path.chmod(0o600)
