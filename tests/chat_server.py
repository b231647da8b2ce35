"""A real HTTP server that speaks the chat-completions protocol, and that of raw completions, with scripted faults.

python tests/chat_server.py PORT_FILE      answers at once, in its own process; for benchmarks
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the server.

    cut: ends the connection in the middle of the body; hang_s: waits before it; drip_s: waits after each byte of it.
    """

    text: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    body: str | None = None
    hang_s: float = 0.0
    drip_s: float = 0.0
    cut: bool = False

    def content(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        return completion(self.text)


def completion(text: str, *, finish_reason: str = "stop", **message: Any) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish_reason,
                    "message": {"role": "assistant", "content": text, **message},
                    "text": text,
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }
    ).encode()


def stream(text: str, *, finished: bool = True, cut: bool = False) -> Reply:
    """An answer in pieces. finished: it says that it ends."""
    deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in (text[:9], text[9:])]
    events = [f"data: {json.dumps(delta)}\n\n" for delta in deltas]
    return Reply(body="".join([*events, "data: [DONE]\n\n" * finished]), kind="text/event-stream", cut=cut)


def failure(status: int, message: str, *, code: str | None = None, **headers: str) -> Reply:
    error = {"error": {"message": message, "type": code, "code": code, "param": None}}
    return Reply(status=status, body=json.dumps(error), headers=headers)


Script = Callable[[dict[str, Any]], Reply]


def asks_for_verdict(request: Mapping[str, Any]) -> bool:
    return "messages" in request and "Verdict:" in request["messages"][0]["content"]


def asked_input(request: Mapping[str, Any]) -> str:
    """The input that a question is about."""
    text: str = request["messages"][-1]["content"]
    return text.split("\n", 1)[1]


def fluent(request: dict[str, Any]) -> Reply:
    """A model that always answers well: what holds "how" is unsafe, and each input gets two guidelines."""
    text = asked_input(request)
    if asks_for_verdict(request):
        return Reply(f"It says {text[:20]!r}.\nVerdict: {'unsafe' if 'how' in text.lower() else 'safe'}")
    word = text.split()[-1].strip("?.!")
    return Reply(
        f"1. **Requests about {word}**: Say what holds for {word} and where its limits are, in plain words.\n"
        f"2. Care with {word}: Leave out what could do harm with {word}, and name who can help instead."
    )


class ChatServer:
    """Serves a script on a free port of 127.0.0.1, in a thread. Keeps all requests, and counts what runs at once."""

    def __init__(self, script: Script = fluent) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append(request)
        self.keys.append(headers.get("authorization", ""))
        self.paths.append(head.split(" ", 2)[1])
        self.times.append(monotonic())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        reply = self.script(request)
        await asyncio.sleep(reply.hang_s)
        self._at_once -= 1
        content = reply.content()
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        writer.write(
            f"HTTP/1.1 {reply.status} X\r\ncontent-type: {reply.kind}\r\n{more}"
            f"content-length: {len(content)}\r\n\r\n".encode()
        )
        for start in range(0, len(content) if reply.drip_s else 0):
            writer.write(content[start : start + 1])
            await asyncio.sleep(reply.drip_s)
        if not reply.drip_s:
            writer.write(content[: len(content) // 2] if reply.cut else content)
        await writer.drain()
        return not reply.cut


if __name__ == "__main__":
    with ChatServer() as served:
        served.requests = served.keys = served.paths = served.times = type(
            "Forgetful", (list,), {"append": lambda self, item: None}
        )()
        Path(sys.argv[1]).write_text(str(served.port), encoding="utf-8")
        threading.Event().wait()
