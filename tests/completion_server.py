"""A small completions server on this machine that answers from a pico model, as real ones do."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

Dialect = Literal["vllm", "openai", "llama-server", "llama-cpp-python"]


class Reply(NamedTuple):
    """A status with its JSON, and headers."""

    status: int
    content: Any
    headers: tuple[tuple[str, str], ...] = ()


Alter = Callable[[str, dict, Reply], Reply | None]
"""Makes another reply of one to a path and a body; None drops the connection."""


class CompletionServer:
    """Speaks one server's dialect about one checkpoint, and remembers what it was asked.

    vllm lists its context, takes ids, gives ids and prompt log-probabilities by id; openai gives
    them by place and has no tokenizer to ask; llama-server has none of prompts; llama-cpp-python
    takes and gives text only.
    """

    def __init__(self, checkpoint: Path, dialect: Dialect = "vllm", *, alter: Alter | None = None):
        self.dialect = dialect
        self.alter = alter or (lambda path, body, reply: reply)
        self.asked: list[tuple[str, dict, dict]] = []
        self.load(checkpoint)
        self._lock = threading.Lock()
        self._http = None
        self.port = 0

    def load(self, checkpoint: Path) -> None:
        """Serve this checkpoint from now on."""
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def completions(self) -> list[dict]:
        """The bodies of the completions asked for, those that find things out left out."""
        return [body for path, body, _ in self.asked if path == "/v1/completions"]

    def __enter__(self) -> "CompletionServer":
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet, which nobody waits for

            def do_GET(self):
                self.reply({})

            def do_POST(self):
                size = int(self.headers["Content-Length"])
                self.reply(json.loads(self.rfile.read(size)))

            def reply(self, body):
                owner.asked.append((self.path, body, dict(self.headers)))
                reply = owner.alter(self.path, body, owner.answer(self.path, body))
                if reply is None:
                    self.close_connection = True
                    return
                content = json.dumps(reply.content).encode()
                self.send_response(reply.status)
                for name, value in (*reply.headers, ("Content-Length", len(content))):
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, path: str, body: dict) -> Reply:
        """The reply of a server of this dialect."""
        known = {
            "/v1/models": self.models,
            "/version": self.version,
            "/tokenize": self.tokenize,
            "/extras/tokenize": self.extras_tokenize,
            "/apply-template": self.apply_template,
            "/v1/chat/completions": self.chat,
            "/v1/completions": self.complete,
        }
        content = known[path](body) if path in known else None
        if isinstance(content, Reply):
            return content
        return Reply(404, {"error": "not found"}) if content is None else Reply(200, content)

    def models(self, _) -> dict:
        entry = {"id": "pico"}
        if self.dialect == "vllm":
            entry |= {"max_model_len": 256, "root": "/models/pico"}
        if self.dialect == "llama-server":
            entry |= {"meta": {"n_ctx": 256}}
        return {"data": [entry]}

    def version(self, _) -> dict | None:
        return {"version": "9.9"} if self.dialect == "vllm" else None

    def tokenize(self, body: dict) -> dict | None:
        if self.dialect == "vllm" and "messages" in body:
            return {"tokens": self.encode(self.render(body["messages"]))}
        if self.dialect == "vllm":
            return {"tokens": self.encode(body["prompt"])}
        if self.dialect == "llama-server":
            return {"tokens": self.encode(body.get("content", ""))}
        return None

    def extras_tokenize(self, body: dict) -> dict | None:
        if self.dialect == "llama-cpp-python":
            return {"tokens": self.encode(body["input"])}
        return None

    def apply_template(self, body: dict) -> dict | None:
        if self.dialect == "llama-server":
            return {"prompt": self.render(body["messages"])}
        return None

    def chat(self, body: dict) -> dict:
        return {"usage": {"prompt_tokens": len(self.encode(self.render(body["messages"])))}}

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def render(self, messages: list) -> str:
        return self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )

    def complete(self, body: dict) -> dict | Reply:
        prompt = body["prompt"]
        if self.dialect == "llama-cpp-python" and not isinstance(prompt, str):
            return Reply(500, {"error": {"message": "Input should be a valid string"}})
        ids = self.encode(prompt) if isinstance(prompt, str) else prompt
        with self._lock:
            written, is_cut = self._write(ids, body)
        text = self.tokenizer.decode(written, skip_special_tokens=True)
        for stop in body.get("stop", ()):
            text = text.partition(stop)[0]
        choice = {"text": text, "finish_reason": "length" if is_cut else "stop"}
        if body.get("echo") and "logprobs" in body:
            choice |= self._prompt_logprobs(ids)
        elif "logprobs" in body and self.dialect == "llama-server":
            entries = [{"id": token, "logprob": -0.5} for token in written]
            choice["logprobs"] = {"content": entries}
        elif "logprobs" in body:
            values = self._scores([*ids, *written])[len(ids) - 1 : -1].max(-1).values.tolist()
            choice["logprobs"] = {"token_logprobs": values}
        if self.dialect == "vllm":
            choice["token_ids"] = written
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return {"choices": [choice], "usage": usage}

    def _scores(self, ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return torch.log_softmax(self._model(torch.tensor([ids])).logits[0].float(), -1)

    def _write(self, ids: list[int], body: dict) -> tuple[list[int], bool]:
        """Tokens written greedily, the end token among them, and whether there was no room."""
        end, written = self.tokenizer.eos_token_id, []
        least = body.get("min_tokens", 0) if self.dialect == "vllm" else 0
        while len(written) < body["max_tokens"]:
            line = self._scores([*ids, *written])[-1].clone()
            if len(written) < least:
                line[end] = -torch.inf
            written.append(int(line.argmax()))
            text = self.tokenizer.decode(written)
            if written[-1] == end or any(stop in text for stop in body.get("stop", ())):
                return written, False
        return written, True

    def _prompt_logprobs(self, ids: list[int]) -> dict:
        scores = self._scores(ids)
        if self.dialect == "vllm":
            places: list = [None]
            for token, line in zip(ids[1:], scores, strict=False):
                best = int(line.argmax())
                places.append({str(one): {"logprob": float(line[one])} for one in (best, token)})
            return {"prompt_logprobs": places}
        if self.dialect == "openai":
            values = [float(line[token]) for token, line in zip(ids[1:], scores, strict=False)]
            tops = [{"best": float(line.max())} for line in scores[:-1]]
            return {"logprobs": {"token_logprobs": [None, *values, -0.5],
                                 "top_logprobs": [None, *tops, {"x": -0.5}]}}  # fmt: skip
        return {"logprobs": {"token_logprobs": [-0.5], "top_logprobs": [{"x": -0.5}]}}
