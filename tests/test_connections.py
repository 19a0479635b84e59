"""Connections to a server on this machine that loses, refuses and delays."""

import threading

import pytest
from completion_server import CompletionServer, Reply

from gate.endpoints.connections import Connection, ask_in_order
from gate.errors import ConfigError, StageError


class Flaky(CompletionServer):
    """Answers by a list of replies, one a request, and then always the last."""

    def __init__(self, *replies):
        super().__init__(None)
        self.replies = list(replies)

    def load(self, checkpoint):
        pass

    def answer(self, path, body):
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def connect():
    """Makes connections that do not sleep, and closes them at the end."""
    made = []

    def make(server, *, url=None, pauses=None, **settings):
        settings = {"key": None, "timeout_seconds": 20, "retry_seconds": 60} | settings
        sleep = ([] if pauses is None else pauses).append
        made.append(Connection(url or server.url, concurrency=2, sleep=sleep, **settings))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def test_what_transport_loses_is_asked_again_with_longer_pauses(connect):
    pauses = []
    busy = Reply(503, {"error": "loading"})
    with Flaky(None, busy, Reply(502, {}), Reply(200, {"ok": 1})) as server:
        reply = connect(server, pauses=pauses).post("/v1/completions", {"prompt": "a"})

    assert reply.content == {"ok": 1}
    assert pauses == [0.25, 0.5, 1.0]
    assert [body for _, body, _ in server.asked] == [{"prompt": "a"}] * 4


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", 7.0), ("soon", 0.25), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.25)],
)
def test_a_server_that_asks_to_wait_is_given_the_time(connect, header, pause):
    pauses = []
    with Flaky(Reply(429, {}, (("Retry-After", header),)), Reply(200, {})) as server:
        assert connect(server, pauses=pauses).get("/health").is_ok

    assert pauses == [pause]


def test_asking_again_ends(connect):
    with (
        Flaky(Reply(503, {"error": "loading"}, (("Retry-After", "61"),))) as server,
        pytest.raises(
            StageError,
            match=r"/health: no answer for 60 seconds: it answers 503: .*loading.*\n"
            "  hint: start the server, or raise retry_seconds or timeout_seconds, and run again: "
            "what it has answered is kept",
        ),
    ):
        connect(server).get("/health")


def test_a_server_that_is_not_there_is_named(connect):
    with Flaky(Reply(200, {})) as server:
        url = server.url
    with pytest.raises(StageError, match=f"{url}/v1/models: no answer for 0 seconds: .*refused"):
        connect(None, url=url, retry_seconds=0).get("/v1/models")


def test_a_server_that_never_answers_is_not_waited_for(connect):
    silent = threading.Event()
    with Flaky(Reply(200, {})) as server:
        server.alter = lambda path, body, reply: None if silent.wait(20) else reply
        with pytest.raises(StageError, match=r"no answer for 0 seconds: .*timed out"):
            connect(server, retry_seconds=0, timeout_seconds=0.2).get("/health")
        silent.set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ({"message": "no such model"}, "no such model"),
        ({"detail": [{"loc": "body"}]}, '[{"loc": "body"}]'),
        ({"error": "no such model"}, "no such model"),
    ],
)
def test_refusals_are_quoted_and_never_asked_again(connect, content, words):
    with Flaky(Reply(404, content)) as server:
        reply = connect(server).get("/v1/models")
        with pytest.raises(StageError) as raised:
            reply.demand()

    assert raised.value.problem == f"{server.url}/v1/models answers 404: {words}"
    assert len(server.asked) == 1


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(connect, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Flaky(Reply(200, {"ok": 1})) as server:
        assert connect(server, retry_seconds=0).get("/health").is_ok
        local = f"http://localhost:{server.port}"
        assert connect(server, url=local, retry_seconds=0).get("/health").is_ok


def test_the_key_is_hidden_in_what_the_server_says(connect):
    with Flaky(Reply(401, {"error": {"message": "sk-secret is not known"}})) as server:
        reply = connect(server, key="sk-secret").get("/v1/models")

    assert reply.message == "*** is not known"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "8000"])
def test_what_is_no_address_is_refused(connect, url):
    with pytest.raises(ConfigError, match=f"endpoint.url: '{url}' is not an address"):
        connect(None, url=url)


@pytest.mark.parametrize("url", ["https://me:secret@host", "https://host/v1?key=secret"])
def test_an_address_that_holds_a_secret_is_refused_and_not_shown(connect, url):
    with pytest.raises(ConfigError, match="it holds more than an address") as raised:
        connect(None, url=url)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_an_address_may_end_as_people_write_it(connect, end):
    assert connect(None, url=f"http://127.0.0.1:8000{end}").url == "http://127.0.0.1:8000"


def test_answers_come_in_the_order_of_the_questions():
    later = threading.Event()

    def ask(question):
        if question == 0:
            assert later.wait(20)  # answered last of the first two
        later.set()
        return question

    assert list(ask_in_order(ask, range(6), concurrency=2)) == [0, 1, 2, 3, 4, 5]
