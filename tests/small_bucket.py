"""Cloud Storage on this machine: as much of its JSON API as TensorFlow, TensorStore and Google's
own library ask for in a run.

Two of them receive its address. TensorFlow, which etils.epath uses for gs:// if it is installed,
cannot receive it; so the same server is its proxy, and answers for *.googleapis.com.
"""

import contextlib
import dataclasses
import http.server
import itertools
import json
import pathlib
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Object:
    content: bytes
    generation: int


class Bucket:
    """Objects by name. Each has a generation, which a client may require when it reads or
    writes."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.lock = threading.Lock()
        self.uploads: dict[str, str] = {}  # the names of the objects by session
        self.sessions, self._generations = itertools.count(), itertools.count(1)

    def write(self, name: str, content: bytes, only_over: str = '') -> Object | None:
        """Returns the new object, or None if the old one has another generation than `only_over`. 0
        means that there is no object."""
        with self.lock:
            there = self.objects.get(name)
            if only_over and int(only_over) != (there.generation if there else 0):
                return None
            made = self.objects[name] = Object(content, next(self._generations))
            return made

    def download(self, folder: pathlib.Path) -> None:
        for name, found in self.objects.items():
            if not name.endswith('/'):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(found.content)

    def listed(self, prefix: str, delimiter: str) -> tuple[dict[str, Object], list[str]]:
        """Returns the objects with the prefix and without the delimiter after it, and the
        beginnings of the other names."""
        with self.lock:
            found = {n: self.objects[n] for n in sorted(self.objects) if n.startswith(prefix)}
        if not delimiter:
            return found, []
        rest = {name: name[len(prefix) :].partition(delimiter) for name in found}
        plain = {name: found[name] for name in found if not rest[name][1]}
        return plain, sorted(
            {prefix + head + delimiter for head, found, _ in rest.values() if found}
        )


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    bucket: Bucket
    tls: ssl.SSLContext

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile('rb')
        self.wfile = self.connection.makefile('wb', 0)  # type: ignore[assignment]
        self.close_connection = False

    def log_message(self, *_: object) -> None:
        """Does nothing, because the server would log every request."""

    def _asked(self) -> tuple[list[str], dict[str, str], bytes]:
        """Returns the path, the query and the body of a request."""
        address = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(address.query).items()}
        chunked = self.headers.get('Transfer-Encoding') == 'chunked'
        body = (
            self._chunks() if chunked else self.rfile.read(int(self.headers['Content-Length'] or 0))
        )
        return [urllib.parse.unquote(part) for part in address.path.split('/')[1:]], query, body

    def _chunks(self) -> bytes:
        body = b''
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, code: int, body: bytes = b'', **headers: object) -> None:
        self.send_response(code)
        for name, value in {'Content-Length': len(body), **headers}.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        self.wfile.write(body)

    def _say(self, name: str, found: Object) -> None:
        self._answer(200, json.dumps(described(name, found)).encode())

    def do_GET(self) -> None:
        path, query, _ = self._asked()
        match path:
            case ['storage', 'v1', 'b', _]:
                self._answer(200, b'{"location": "US"}')
            case ['storage', 'v1', 'b', _, 'o']:
                within = query.get('prefix', ''), query.get('delimiter', '')
                listed, prefixes = self.bucket.listed(*within)
                items = [described(*item) for item in listed.items()]
                self._answer(200, json.dumps({'items': items, 'prefixes': prefixes}).encode())
            case ['storage', 'v1', 'b', _, 'o', name] if query.get('alt') != 'media':
                if found := self.bucket.objects.get(name):
                    self._say(name, found)
                else:
                    self._answer(404)
            case ['storage', 'v1', 'b', _, 'o', name] | [_, name]:
                self._send(name)
            case [_, *parts]:
                self._send('/'.join(parts))

    def _send(self, name: str) -> None:
        if (found := self.bucket.objects.get(name)) is None:
            return self._answer(404)
        generation, size = found.generation, len(found.content)
        if not (wanted := self.headers.get('Range')):
            return self._answer(200, found.content, x_goog_generation=generation)
        first, last = wanted.removeprefix('bytes=').split('-')
        begin = int(first) if first else size - int(last)
        end = min(int(last) + 1, size) if first and last else size
        self._answer(
            206,
            found.content[begin:end],
            x_goog_generation=generation,
            Content_Range=f'bytes {begin}-{end - 1}/{size}',
        )

    def do_POST(self) -> None:
        path, query, body = self._asked()
        match path:
            case ['upload', 'storage', 'v1', 'b', _, 'o'] if query['uploadType'] == 'resumable':
                session = str(next(self.bucket.sessions))
                self.bucket.uploads[session] = query['name']
                self._answer(200, Location=f'https://{self.headers["Host"]}/session/{session}')
            case ['upload', 'storage', 'v1', 'b', _, 'o'] if query['uploadType'] == 'media':
                over = query.get('ifGenerationMatch', '')
                if made := self.bucket.write(query['name'], body, over):
                    self._say(query['name'], made)
                else:
                    self._answer(412)
            case ['storage', 'v1', 'b', _, 'o', source, 'rewriteTo', 'b', _, 'o', name]:
                if not (there := self.bucket.objects.get(source)):
                    return self._answer(404)
                made = self.bucket.write(name, there.content)
                assert made
                answer = {'done': True, 'resource': described(name, made)}
                self._answer(200, json.dumps(answer).encode())
            case _:
                self._answer(501)

    def do_PUT(self) -> None:
        path, _, body = self._asked()
        name = self.bucket.uploads[path[-1]]
        made = self.bucket.write(name, body)
        assert made
        self._say(name, made)

    def do_DELETE(self) -> None:
        path, query, _ = self._asked()
        with self.bucket.lock:
            there = self.bucket.objects.get(path[-1])
            wanted = query.get('ifGenerationMatch')
            if there is None:
                return self._answer(404)
            if wanted and wanted != str(there.generation):
                return self._answer(412)
            del self.bucket.objects[path[-1]]
        self._answer(204)


def described(name: str, found: Object) -> dict[str, str]:
    return {
        'name': name,
        'size': str(len(found.content)),
        'generation': str(found.generation),
        'metageneration': '1',
        'updated': '2026-01-01T00:00:00.000Z',
    }


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[tuple[Bucket, dict[str, str]]]:
    """gs://bucket and the environment of processes for which it is there. folder: for keys."""
    certificate, key = folder / 'certificate.pem', folder / 'key.pem'
    names = ['-subj', '/CN=googleapis.com', '-addext', 'subjectAltName=DNS:*.googleapis.com']
    files = ['-keyout', str(key), '-out', str(certificate)]
    openssl = ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', *names, *files]
    subprocess.run(openssl, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    bucket = Bucket()
    handler = type('Serving', (Handler,), {'bucket': bucket, 'tls': tls})
    with http.server.ThreadingHTTPServer(('localhost', 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://localhost:{server.server_port}'
        yield (
            bucket,
            {
                'TENSORSTORE_GCS_HTTP_URL': address,
                'STORAGE_EMULATOR_HOST': address,
                'https_proxy': address,
                'no_proxy': 'localhost',
                'CURL_CA_BUNDLE': str(certificate),
                'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'any',
                'NO_GCE_CHECK': 'true',
                'GOOGLE_APPLICATION_CREDENTIALS': str(folder / 'none'),
            },
        )
        server.shutdown()
