"""The part of a Kubernetes API server that a pod's preStop hook asks: its own StatefulSet, by HTTPS and with a token.

Knows no pods.
"""

import http.server
import json
import pathlib
import ssl
import subprocess
import threading

TOKEN = "token-of-the-service-account"


class ApiServer:
    """A context; `folder` gets what a service account's volume holds: ca.crt, token, namespace."""

    def __init__(self, address, folder, workload):
        self.folder, self.workload = pathlib.Path(folder), workload
        self.replicas = workload.replicas
        self.asked = 0
        self._certify(address)
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder.parent / "server.crt", self.folder.parent / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()

    def answer(self, request):
        path = f"/apis/apps/v1/namespaces/{self.workload.namespace}/statefulsets/{self.workload.name}"
        self.asked += 1
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, body = 401, {"kind": "Status", "code": 401}
        elif request.path.split("?")[0] != path:
            status, body = 404, {"kind": "Status", "code": 404}
        else:
            told = self.workload.object
            status, body = 200, told | {"spec": told["spec"] | {"replicas": self.replicas}}
        text = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _certify(self, address):
        """A CA of its own and a certificate for the address."""
        self.folder.mkdir(parents=True)
        top = self.folder.parent
        extensions = top / "extensions"
        extensions.write_text(f"subjectAltName=IP:{address},DNS:kubernetes.default.svc\nbasicConstraints=CA:FALSE\n")
        for command in (
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
             "/CN=play-ca", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign",
             "-keyout", top / "ca.key", "-out", self.folder / "ca.crt"],
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=kubernetes",
             "-keyout", top / "server.key", "-out", top / "server.csr"],
            ["x509", "-req", "-days", "2", "-in", top / "server.csr", "-CA", self.folder / "ca.crt", "-CAkey", top / "ca.key",
             "-CAcreateserial", "-extfile", extensions, "-out", top / "server.crt"],
        ):  # fmt: skip
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
        (self.folder / "token").write_text(TOKEN)
        (self.folder / "namespace").write_text(self.workload.namespace)
        for path in [self.folder, *self.folder.iterdir()]:
            path.chmod(0o755 if path.is_dir() else 0o644)
