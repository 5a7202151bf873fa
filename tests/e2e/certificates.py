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


def ocsp_response(issuer, certificate, status="V"):
    """What a responder of the issuer says, in DER: V (good) or R (revoked), for a day from now on."""
    folder = certificate.chain.parent
    index, request, response = (folder / f"ocsp.{name}" for name in ("index", "request", "response"))
    told = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", certificate.chain], check=True, capture_output=True, text=True
    ).stdout
    revoked = "260101000000Z" if status == "R" else ""
    index.write_text(f"{status}\t400101000000Z\t{revoked}\t{told.strip().split('=')[1]}\tunknown\t/CN=any\n")
    ask = ["-issuer", issuer.chain, "-cert", certificate.chain, "-reqout", request]
    tell = ["-index", index, "-CA", issuer.chain, "-rsigner", issuer.chain, "-rkey", issuer.key, "-ndays", "1"]
    for args in (ask, [*tell, "-reqin", request, "-respout", response]):
        subprocess.run(["openssl", "ocsp", "-no_nonce", *args], check=True, capture_output=True)
    return response.read_bytes()
