"""Which form a body is in, and which form the caller wants the answer in.

Rule: an error is always JSON, whatever was asked for.
"""

from __future__ import annotations

from typing import Final, Literal

from timewell.server.problems import NotAcceptable, UnsupportedMedia

Media = Literal["application/json", "application/msgpack", "application/vnd.apache.arrow.stream"]
JSON: Final = "application/json"
MESSAGE_PACK: Final = "application/msgpack"
ARROW: Final = "application/vnd.apache.arrow.stream"

BODIES: Final[tuple[Media, ...]] = (JSON, MESSAGE_PACK)
ANSWERS: Final[tuple[Media, ...]] = (JSON, MESSAGE_PACK, ARROW)

_Read = dict[bytes | None, Media]
_MOST_KNOWN: Final = 256
_BODY_KNOWN: _Read = {None: JSON, b"application/json": JSON, b"application/msgpack": MESSAGE_PACK}
_ANSWER_KNOWN: _Read = {None: JSON, b"*/*": JSON}


def media_of_body(content_type: bytes | None) -> Media:
    """Return the form of a body; without a Content-Type it is JSON.

    Raises
    ------
    UnsupportedMedia
    """
    found = _BODY_KNOWN.get(content_type)
    if found is not None:
        return found
    text = (content_type or b"").decode("latin-1")
    kind = text.partition(";")[0].strip().lower()
    for media in BODIES:
        if kind == media:
            return media
    raise UnsupportedMedia(media=text, known=list(BODIES))


def media_of_answer(accept: bytes | None) -> Media:
    """Return the form that a caller likes best of those that there are.

    Raises
    ------
    NotAcceptable

    Examples
    --------
    >>> media_of_answer(b"application/msgpack;q=0.5, application/vnd.apache.arrow.stream")
    'application/vnd.apache.arrow.stream'
    >>> media_of_answer(b"text/html, */*;q=0.1")
    'application/json'
    """
    found = _ANSWER_KNOWN.get(accept)
    if found is None:
        found = _best((accept or b"").decode("latin-1"))
        if len(_ANSWER_KNOWN) < _MOST_KNOWN:
            _ANSWER_KNOWN[accept] = found
    return found


def _best(accept: str) -> Media:
    """Choose by weight, then by our order; a name goes before a wildcard that takes it as well."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights[kind] = _weight(parameters)
    ranked: list[tuple[float, Media]] = []
    for media in ANSWERS:
        named = [weights[kind] for kind in (media, "application/*", "*/*") if kind in weights]
        if named and named[0] > 0:
            ranked.append((named[0], media))
    if not ranked:
        raise NotAcceptable(accept=accept, known=list(ANSWERS))
    return max(ranked, key=lambda found: found[0])[1]  # of equals the first


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
