"""A person's browser without scripts: follows redirects on one site, keeps its cookies, fills and submits forms."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx2

_REDIRECTS = (301, 302, 303, 307, 308)
_HOPS = 10


@dataclass(slots=True)
class Control:
    """An input or a button; `id` finds it, `name` and `value` are what is sent."""

    kind: str
    id: str | None
    name: str | None
    value: str
    checked: bool = False


@dataclass(slots=True)
class Form:
    """One form of a page."""

    action: str
    method: str
    controls: list[Control] = field(default_factory=list)

    def control(self, identifier: str) -> Control | None:
        return next((control for control in self.controls if control.id == identifier), None)


@dataclass(slots=True)
class Page:
    """A page that waits for the person."""

    url: str
    status: int
    text: str
    forms: list[Form]
    texts: dict[str, str]  # the text of every element that has an id
    response: httpx2.Response

    def has(self, identifier: str) -> bool:
        return identifier in self.texts

    def form_of(self, identifier: str) -> Form:
        """The form that holds the control with this id."""
        found = [form for form in self.forms if form.control(identifier)]
        assert len(found) == 1, (
            f"{len(found)} forms with #{identifier} at {self.url} ({self.status}): {self.text[:500]}"
        )
        return found[0]

    @property
    def error(self) -> str | None:
        """The code of an error page."""
        return self.texts.get("oauth-error")


@dataclass(slots=True)
class Callback:
    """The redirect that leaves the site for the application; `parameters` are its query."""

    location: str
    status: int
    response: httpx2.Response

    @property
    def parameters(self) -> dict[str, str]:
        pairs = parse_qsl(urlsplit(self.location).query, keep_blank_values=True)
        assert len(dict(pairs)) == len(pairs), f"a parameter is repeated: {self.location}"
        return dict(pairs)

    @property
    def code(self) -> str | None:
        return self.parameters.get("code")

    @property
    def error(self) -> str | None:
        return self.parameters.get("error")


def parse_page(response: httpx2.Response) -> Page:
    parser = _Parser()
    parser.feed(response.text)
    parser.close()
    return Page(
        url=str(response.url),
        status=response.status_code,
        text=response.text,
        forms=parser.forms,
        texts={identifier: " ".join(parts).strip() for identifier, parts in parser.texts.items()},
        response=response,
    )


class _Parser(HTMLParser):
    _VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, str | None]] = []
        self._by_id: dict[str, Form] = {}
        self._current: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        identifier = values.get("id")
        if identifier:
            self.texts.setdefault(identifier, [])
        if tag not in self._VOID:
            self._open.append((tag, identifier))
        if tag == "form":
            self._current = Form(values.get("action") or "", (values.get("method") or "get").upper())
            self.forms.append(self._current)
            if identifier:
                self._by_id[identifier] = self._current
        elif tag in ("input", "button"):
            form = self._by_id.get(values["form"] or "") if values.get("form") else self._current
            default = "submit" if tag == "button" else "text"
            if form is not None:
                kind = (values.get("type") or default).lower()
                value = values.get("value")
                value = ("on" if kind in ("checkbox", "radio") else "") if value is None else value
                form.controls.append(Control(kind, identifier, values.get("name"), value, "checked" in values))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._current = None
        while self._open and any(name == tag for name, _ in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        for _, identifier in self._open:
            if identifier:
                self.texts[identifier].append(data.strip())


class Browser:
    """One person at one computer.

    `cookies` are kept here per origin and not in the client, so that many browsers may share one `http`.
    `overrides` replaces request headers (None leaves one out); `trail` is every redirect that was followed.
    """

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.cookies: dict[str, dict[str, str]] = {}
        self.set_cookie_lines: list[str] = []
        self.trail: list[tuple[int, str]] = []
        self.overrides: dict[str, str | None] = {}

    async def open(self, url: str, *, stop_at: str | None = None, site: str = "cross-site") -> Page | Callback:
        """Go to a URL as a link in an application would; `stop_at` is the redirect URI that ends the visit."""
        return await self._visit("GET", url, None, stop_at, {"sec-fetch-site": site})

    async def submit(
        self, page: Page, click: str, values: dict[str, Any] | None = None, *, stop_at: str | None = None
    ) -> Page | Callback:
        """Fill the controls with these ids, keep the hidden ones, and click the button with the id `click`."""
        form = page.form_of(click)
        fields = self.fields(form, click, values or {})
        target = urljoin(page.url, form.action)
        headers = {"sec-fetch-site": "same-origin", "origin": _origin(page.url), "referer": page.url}
        if form.method == "GET":
            return await self._visit("GET", f"{target.partition('?')[0]}?{urlencode(fields)}", None, stop_at, headers)
        return await self._visit("POST", target, urlencode(fields).encode(), stop_at, headers)

    @staticmethod
    def fields(form: Form, click: str, values: dict[str, Any]) -> list[tuple[str, str]]:
        """What a browser would send: in the form's order, of the buttons only the one that was clicked."""
        unknown = [identifier for identifier in values if form.control(identifier) is None]
        assert not unknown, f"no control with id {unknown}"
        sent: list[tuple[str, str]] = []
        for control in form.controls:
            if control.name is None or control.kind in ("reset", "button"):
                continue
            if control.kind in ("submit", "image"):
                if control.id == click:
                    sent.append((control.name, control.value))
            elif control.kind in ("checkbox", "radio"):
                if values.get(control.id or "", control.checked):
                    sent.append((control.name, control.value))
            else:
                sent.append((control.name, str(values.get(control.id or "", control.value))))
        return sent

    async def _visit(
        self, method: str, url: str, body: bytes | None, stop_at: str | None, headers: dict[str, str]
    ) -> Page | Callback:
        for _ in range(_HOPS):
            response = await self._send(method, url, body, headers)
            if response.status_code not in _REDIRECTS:
                return parse_page(response)
            location = urljoin(url, response.headers["location"])
            self.trail.append((response.status_code, location))
            if _origin(location) != _origin(url) or (
                stop_at and location.partition("?")[0] == stop_at.partition("?")[0]
            ):
                return Callback(location, response.status_code, response)
            if response.status_code not in (307, 308):
                method, body = "GET", None
            url, headers = location, {**headers, "referer": url}
            headers.pop("origin", None)
        raise AssertionError(f"more than {_HOPS} redirects: {self.trail}")

    async def _send(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> httpx2.Response:
        sent: dict[str, str | None] = {
            "accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
            "sec-fetch-user": "?1",
            **headers,
        }
        jar = self.cookies.setdefault(_origin(url), {})
        if jar:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if body is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
        chosen = {name: value for name, value in (sent | self.overrides).items() if value is not None}
        request = self.http.build_request(method, url, headers=chosen, content=body)
        response = await self.http.send(request, follow_redirects=False)
        self.http.cookies.clear()
        for line in response.headers.get_list("set-cookie"):
            self._keep(jar, line)
        return response

    def _keep(self, jar: dict[str, str], line: str) -> None:
        self.set_cookie_lines.append(line)
        pair, *attributes = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        named = {part.partition("=")[0].lower(): part.partition("=")[2] for part in attributes}
        if name.startswith("__Host-"):  # a browser drops the cookie otherwise
            assert "secure" in named, line
            assert named.get("path") == "/", line
            assert "domain" not in named, line
        if named.get("max-age") == "0" or (value in ("", '""') and "expires" in named):
            jar.pop(name, None)
        else:
            jar[name] = value


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
