"""Starting and stopping: the command, the state file, and the server for tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
import pytest

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.__main__ import main
from reverse_etl.sandbox.testing import SandboxServer

EMAIL = "ann.secret@acme.com"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reverse_etl.sandbox", *arguments]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        command("--port", "0", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox ready on http://"), process.communicate(timeout=10)
        yield process, line.split()[-1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[str, str, float]:
    begun = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=10)
    return output, errors, time.monotonic() - begun


def call(url: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    connection = HTTPConnection(host, int(port), timeout=10)
    try:
        sent = {"Api-Key": "sandbox-server-key"} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, None if body is None else orjson.dumps(body), sent)
        answer = connection.getresponse()
        return answer.status, orjson.loads(answer.read())
    finally:
        connection.close()


def test_a_taken_port_is_one_clear_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(command("--port", port), capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"sandbox: port {port} on 127.0.0.1 is taken by another program; give another --port, or 0 for a free one"
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "70000"], "port 70000 is not a port"),
        (["--host", "0.0.0.0"], "protect its admin interface with --admin-token"),
        (["--host", "sandbox.acme.com"], "protect its admin interface with --admin-token"),
        (["--latency-ms", "-1"], "latency_ms: Input should be greater than or equal to 0"),
        (["--api-key", ""], "keys.0.key: String should have at least 1 character"),
        (["--state", "/nonexistent-folder/state"], "the folder /nonexistent-folder does not exist"),
    ],
)
def test_wrong_options_are_one_clear_line_and_exit_code_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", "0", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert named in errors
    assert len(errors.splitlines()) == 1


def test_state_survives_runs_and_a_stop_does_not_wait_for_hanging_requests(tmp_path: Path) -> None:
    state = tmp_path / "state.ndjson"
    with started("--state", str(state), "--limits", "off", "--log-level", "debug") as (process, url):
        call(url, "POST", "/api/users/update", {"email": EMAIL, "dataFields": {"plan": "pro"}})
        call(url, "POST", "/api/events/track", {"email": EMAIL, "eventName": "e", "id": "1"})
        assert call(url, "PUT", "/sandbox/faults", [{"kind": "hang"}])[0] == 200
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as hanging:
            hanging.sendall(b"GET /api/lists HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: call(url, "GET", "/sandbox/stats")[1]["in_flight"] == 1)
            output, errors, seconds = stop(process)
    assert process.returncode == 0
    assert seconds < 8
    assert output == ""
    assert EMAIL not in errors
    with started("--state", str(state)) as (process, url):
        assert call(url, "GET", f"/api/users/{EMAIL}")[1]["user"]["dataFields"]["plan"] == "pro"
        assert call(url, "POST", "/api/users/update", {"email": EMAIL, "dataFields": {"plan": 7}})[0] == 400
        stop(process, signal.SIGINT)
    assert process.returncode == 0


def test_the_admin_token_guards_the_admin_paths_and_given_keys_replace_the_default_ones() -> None:
    with started("--admin-token", "let-me-in", "--api-key", "k1", "--api-key", "k2") as (_, url):
        assert call(url, "GET", "/sandbox/stats")[0] == 401
        assert call(url, "GET", "/sandbox/stats", Sandbox_Admin_Token="wrong")[0] == 401
        assert call(url, "GET", "/sandbox/stats", Sandbox_Admin_Token="let-me-in")[0] == 200
        assert call(url, "GET", "/api/lists")[0] == 401
        for key in ("k1", "k2"):
            assert call(url, "GET", "/api/lists", Api_Key=key)[0] == 200


def test_the_state_file_holds_everything(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with SandboxServer(state_file=state, limits="off", project_type="email") as sandbox:
        sandbox.post("/api/users/update", {"email": EMAIL, "userId": "u1", "dataFields": {"n": 1, "o": {"x": "y"}}})
        sandbox.post("/api/users/update", {"userId": "u2", "preferUserId": True})
        sandbox.post("/api/users/update", {"email": "gone@acme.com"})
        sandbox.post("/api/users/forget", {"email": "gone@acme.com"})
        for _ in range(2):
            event = {"userId": "u1", "eventName": "e", "id": "1", "createdAt": 7, "dataFields": {"page": "p"}}
            sandbox.post("/api/events/track", event)
        before = (sandbox.users(), sandbox.events(), sandbox.get("/api/users/forgotten"))
        fields = sandbox.get("/api/users/getFields")
        assert sandbox.post("/sandbox/save") == {"saved": str(state)}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert state.stat().st_mode & 0o777 == 0o600
    with SandboxServer(state_file=state, limits="off", project_type="email") as sandbox:
        assert (sandbox.users(), sandbox.events(), sandbox.get("/api/users/forgotten")) == before
        assert sandbox.get("/api/users/getFields") == fields
        stats = sandbox.stats()
        assert (stats["users"], stats["events"], stats["events_overwritten"]) == (2, 1, 1)
        sandbox.post("/api/users/update", {"userId": "u3", "preferUserId": True})
        assert "sandbox+2@placeholder.email" in [user["email"] for user in sandbox.users()]


HEADER = (
    b'{"sandbox_state":1,"users":1,"events":1,"field_types":{},"forgotten_emails":{},"forgotten_user_ids":{},'
    b'"counts":{"events_overwritten":0,"events_dropped":0,"reserved_fields_ignored":0,"placeholders":0}}\n'
)
USER = b'{"email":"a@b.co","userId":null,"fields":{},"signed_up":1,"updated":1,"visible_at":0}\n'
EVENT = b'{"id":"1","name":"e","user":0,"created_at":1,"body":{}}\n'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (b"\x00\xff", 1),
        (b"[]\n", 1),
        (b'{"sandbox_state":2}\n', 1),
        (HEADER, 2),
        (HEADER + USER[:20], 2),
        (HEADER + b"{}\n", 2),
        (HEADER + USER + EVENT.replace(b'"user":0', b'"user":1'), 3),
        (HEADER + USER + EVENT + EVENT, 4),
    ],
)
def test_a_damaged_state_file_is_named_with_the_line_and_left_alone(tmp_path: Path, content: bytes, line: int) -> None:
    state = tmp_path / "state"
    state.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"is damaged at line {line}; move it away"):
        SandboxServer(state_file=state)
    assert state.read_bytes() == content


def test_a_whole_state_file_is_taken(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_bytes(HEADER + USER + EVENT)
    with SandboxServer(state_file=state) as sandbox:
        assert (len(sandbox.users()), len(sandbox.events())) == (1, 1)


@pytest.mark.parametrize("settings", [{"nonsense": 1}, {"limits": "sometimes"}])
def test_the_server_for_tests_refuses_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        SandboxServer(**settings)


def test_the_server_for_tests_names_status_and_answer_of_a_refusal(sandbox: Any) -> None:
    with pytest.raises(RuntimeError, match=r"POST /api/users/update with 400: .*BadParams"):
        sandbox.post("/api/users/update", {})


def test_the_server_for_tests_leaves_no_thread_socket_or_file_behind() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    # The first event loop of a process opens a pipe for signals that every later one shares.
    with SandboxServer(limits="off"):
        pass
    threads, files = threading.active_count(), open_files()
    for _ in range(5):
        with SandboxServer(limits="off") as sandbox:
            sandbox.post("/api/users/update", {"email": EMAIL})
            sandbox.faults([{"kind": "hang"}])
            waiting = socket.create_connection(("127.0.0.1", sandbox.port))
            waiting.sendall(b"GET /api/lists HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda server=sandbox: server.stats()["in_flight"] == 1)
        waiting.close()
    # Connections of earlier tests may close meanwhile, so there may be fewer than before, but never more.
    wait_until(lambda: threading.active_count() <= threads and open_files() <= files)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sandbox.port))
