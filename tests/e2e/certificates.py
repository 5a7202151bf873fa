# SPDX-License-Identifier: MIT
"""Certificates for tests, made by openssl(1) when they are wanted."""

import subprocess


class Certificate:
    """A key and a certificate of it in PEM: `key`, `chain`, and `both` in one file; signed by itself, or by `issuer`."""

    def __init__(self, folder, name="localhost", names="DNS:localhost,IP:127.0.0.1", rsa=False, issuer=None, days=2):
        self.key, self.chain, self.both = (folder / f"{name}.{kind}.pem" for kind in ("key", "chain", "both"))
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command = ["openssl", "req", "-x509", "-nodes", "-newkey", *kind, "-keyout", self.key, "-out", self.chain]
        if issuer is not None:
            command += ["-CA", issuer.chain, "-CAkey", issuer.key]
        command += ["-days", str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
        subprocess.run(command, check=True, capture_output=True)
        self.both.write_text(self.chain.read_text() + self.key.read_text())

    def expire(self):
        """Ends yesterday from now on. Signed by itself."""
        command = ["openssl", "x509", "-in", self.chain, "-signkey", self.key, "-days", "-1", "-out", self.chain]
        subprocess.run(command, check=True, capture_output=True)
        self.both.write_text(self.chain.read_text() + self.key.read_text())
