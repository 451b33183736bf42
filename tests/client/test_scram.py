"""The client's side of SCRAM: the RFCs' examples, another implementation, and servers that break the rules."""

from __future__ import annotations

import base64

import pytest
from scramp import ScramMechanism

from trio_spool.client import AuthenticationError
from trio_spool.client._scram import ScramClient


@pytest.mark.parametrize(
    ("hash_name", "nonce", "challenge", "final", "signature"),
    [
        (  # RFC 5802, section 5
            "sha1",
            "fyko+d2lbbFgONRv9qkxdawL",
            b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (  # RFC 7677, section 3
            "sha256",
            "rOprNGfwEbeRWgbNEkqO",
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_the_examples_of_the_rfcs(hash_name: str, nonce: str, challenge: bytes, final: bytes, signature: bytes) -> None:
    client = ScramClient("user", "pencil", hash_name=hash_name, nonce=nonce)
    assert client.first() == b"n,,n=user,r=" + nonce.encode()
    assert client.final_in_thread(challenge) == final
    client.check(signature)
    with pytest.raises(AuthenticationError, match="could not prove"):
        client.check(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize(("name", "password"), [("user", "pencil"), ("a=b,c", "=,\u00a0x"), ("\u2168", "I\u00adX")])
def test_another_implementation(name: str, password: str) -> None:
    mechanism = ScramMechanism("SCRAM-SHA-512")
    keys = mechanism.make_auth_info(password, iteration_count=4096)
    server = mechanism.make_server(lambda _: keys)
    client = ScramClient(name, password)
    server.set_client_first(client.first().decode())
    server.set_client_final(client.final_in_thread(server.get_server_first().encode()).decode())
    client.check(server.get_server_final().encode())


SALT = base64.b64encode(b"sixteen bytes...").decode()


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        ("", "first message is malformed"),
        (f"s={SALT},r=mine+theirs,i=4096", "first message is malformed"),
        (f"m=x,r=mine+theirs,s={SALT},i=4096", "first message is malformed"),
        (f"r=mine+theirs,s={SALT},i=-4096", "first message is malformed"),
        (f"r=mine+theirs,s={SALT},i=4096\xff", "first message is malformed"),
        (f"r=mine\0+theirs,s={SALT},i=4096", "first message is malformed"),
        ("r=mine+theirs,s=AAAAA,i=4096", "not base64"),
        (f"r=mine,s={SALT},i=4096", "nonce"),
        (f"r=other+theirs,s={SALT},i=4096", "nonce"),
        (f"r=mine+theirs,s={SALT},i=4095", "4095 iterations"),
        (f"r=mine+theirs,s={SALT},i=9999999999", "9999999999 iterations"),
    ],
)
def test_challenges_that_are_none(challenge: str, message: str) -> None:
    with pytest.raises(AuthenticationError, match=message):
        ScramClient("user", "pencil", nonce="mine").final_in_thread(challenge.encode("latin-1"))


def test_an_extension_is_no_problem() -> None:
    client = ScramClient("user", "pencil", nonce="mine")
    assert client.final_in_thread(f"r=mine+theirs,s={SALT},i=4096,x=more".encode()).startswith(b"c=biws,r=mine+theirs,p=")


@pytest.mark.parametrize("answer", [b"", b"v=", b"e=invalid-proof"])
def test_a_server_that_proves_nothing(answer: bytes) -> None:
    client = ScramClient("user", "pencil", nonce="mine")
    for _ in range(2):  # also before there is anything to prove
        with pytest.raises(AuthenticationError, match="could not prove"):
            client.check(answer)
        client.final_in_thread(f"r=mine+theirs,s={SALT},i=4096".encode())


@pytest.mark.parametrize(("name", "password"), [("us\0er", "pencil"), ("user", "pen\ncil"), ("\ud800", "pencil")])
def test_what_saslprep_refuses(name: str, password: str) -> None:
    with pytest.raises(AuthenticationError, match="can't be used"):
        ScramClient(name, password)
