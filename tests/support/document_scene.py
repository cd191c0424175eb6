"""An agent that is no registration but a document behind its client_id, at a house that fetches it through a fake."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from fapi_as.adapters.client_documents import PublishedDocuments
from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.adapters.fetch import HttpsFetch
from fapi_as.features import ENABLED, client_id_metadata
from fapi_as.kernel import capabilities
from fapi_as.ports import Fetch
from fapi_as.protocol.fetched_document import FetchedDocument
from fapi_as.protocol.policy import DocumentPolicy, Policy
from tests.support.document_host import Answer, DocumentHost, document
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient
from tests.support.house import RESOURCE, SCOPES, House
from tests.support.peer_keys import PeerKey
from tests.support.published_client import key_set, published

HOST: Final = "agents.example"
CLIENT_ID: Final = f"https://{HOST}/assistant.json"
JWKS_URI: Final = f"https://{HOST}/keys.json"
REDIRECT_URI: Final = f"https://{HOST}/callback"
LOOPBACKS: Final = ("http://127.0.0.1:4711/callback", "http://[::1]:4712/callback")
KEY: Final = PeerKey.es256(seed=81)
OTHER_KEY: Final = PeerKey.es256(seed=82)
DOCUMENTS: Final = DocumentPolicy(hosts=frozenset({HOST}), scope=frozenset({*SCOPES, "openid", "profile"}))
_LEFT_OUT: Final = ...


def described(client_id: str = CLIENT_ID, **changes: Any) -> dict[str, Any]:
    """The members of an honest document; `...` leaves one out."""
    origin = client_id.rpartition("/")[0]
    members = {
        "client_id": client_id,
        "client_name": "The assistant",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": [f"{origin}/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "jwks_uri": f"{origin}/keys.json",
    } | changes
    return {name: value for name, value in members.items() if value is not _LEFT_OUT}


class DocumentPlace:
    """A house whose policy knows documents, and `agent`, whose client_id is one; `asked` is what was fetched of it."""

    def __init__(self, policy: Policy | None = None, documents: DocumentPolicy | None = DOCUMENTS) -> None:
        policy = replace(policy or Policy(tenant="default", issuer=ISSUER), documents=documents)
        self.house = House(policy=policy)
        self.house.redirects_of_documents.update((REDIRECT_URI, *LOOPBACKS))
        self.fetch = FakeFetch(documents={JWKS_URI: published(KEY.jwk(kid="first"))})
        self.publish()
        self.serve(self.fetch)
        self.agent = self.peer()

    def serve(self, fetch: Fetch) -> None:
        """Let the house fetch through this, with nothing at hand: as another worker."""
        house, context = self.house, self.house.context
        features = (*ENABLED, client_id_metadata.FEATURE) if context.policy.documents is not None else ENABLED
        keys = PublishedKeys(fetch, monotonic=self._seconds)
        house.context = replace(
            context,
            client_keys=keys,
            client_documents=PublishedDocuments(
                fetch, keys, context.reading, policy=context.policy, clock=house.clock, monotonic=self._seconds
            ),
            features=features,
            grants=capabilities.grants(features),
        )

    def publish(self, client_id: str = CLIENT_ID, *, max_age: int | None = None, **changes: Any) -> None:
        """Put an honest document with these changes there."""
        self.put(json.dumps(described(client_id, **changes)).encode(), client_id, max_age=max_age)

    def put(self, body: bytes, client_id: str = CLIENT_ID, *, max_age: int | None = None) -> None:
        """Put these octets there."""
        self.fetch.documents[client_id] = FetchedDocument(body=body, max_age=max_age)

    def forget(self) -> None:
        """Go on as a worker that has just started."""
        self.serve(self.fetch)

    def peer(
        self, client_id: str = CLIENT_ID, *, key: PeerKey = KEY, kid: str | None = "first", **what: Any
    ) -> FapiClient:
        """Whoever says to be this client, with this key."""
        return FapiClient(
            self.house.http,
            issuer=self.house.context.policy.issuer,
            client_id=client_id,
            client_key=key,
            resource=RESOURCE,
            scope="accounts:read",
            now=self.house.clock.now,
            **{"kid": "first", "redirect_uri": f"{client_id.rpartition('/')[0]}/callback"} | what,
        )

    def asked(self, url: str = CLIENT_ID) -> int:
        """How often somebody asked for a document."""
        return self.fetch.asked.count(url)

    def _seconds(self) -> float:
        return float(self.house.clock.now())


class PlaceOverTls(DocumentPlace):
    """The same, where the document really stands at a host that may answer anything."""

    def __init__(self, host: DocumentHost) -> None:
        self.host = host
        self.client_id = host.url("/assistant.json", HOST)
        authority = urlsplit(self.client_id).netloc
        super().__init__(documents=replace(DOCUMENTS, hosts=frozenset({authority})))
        self.https = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=[HOST])
        self.serve(self.https)
        self.agent = self.peer(self.client_id)
        self.house.redirects_of_documents.add(host.url("/callback", HOST))
        self.stand()
        host.answers["/keys.json"] = document(key_set(KEY.jwk(kid="first")))

    def stand(self, answer: Answer | None = None) -> None:
        """Let the host answer like this where the document is asked for."""
        self.host.answers["/assistant.json"] = answer or document(self.body())

    def body(self, **changes: Any) -> bytes:
        """An honest document."""
        return json.dumps(described(self.client_id, **changes)).encode()


def lead_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the host leads to this machine."""
    resolve = socket.getaddrinfo

    def getaddrinfo(name: str, port: int, **options: Any) -> list[Any]:
        return resolve("127.0.0.1" if name == HOST else name, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
