"""Which form a caller wants: Accept and Content-Type, for JSON and msgpack.

What lives here: the two headers, as far as two forms need them. Pure; any thread. Source: RFC 9110, section 12.5.1.
"""

from __future__ import annotations

from typing import Final, Literal

Form = Literal["json", "msgpack"]

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"

_FORMS: Final[dict[str, Form]] = {
    JSON: "json", MSGPACK: "msgpack", "application/x-msgpack": "msgpack", "application/vnd.msgpack": "msgpack",
}


def form_of(content_type: str | None) -> Form | None:
    """Return the form that a Content-Type names; None: neither. Without one it is JSON, as most tools mean it."""
    if content_type is None:
        return "json"
    media_type = content_type.partition(";")[0].strip().lower()
    return _FORMS.get(media_type)


def wanted(accept: str | None, otherwise: Form) -> Form | None:
    """Return the form that an Accept header prefers; None: neither is acceptable.

    Args:
        otherwise: what is taken where both are as good.
    """
    if accept is None or not accept.strip():
        return otherwise
    best: dict[Form, tuple[int, float]] = {}
    for part in accept.split(","):
        media_range, *parameters = (each.strip() for each in part.lower().split(";"))
        quality = _quality(parameters)
        for form, specificity in _fitting(media_range):
            # The most specific range decides about a form, whatever a broader one says.
            if form not in best or specificity > best[form][0]:
                best[form] = specificity, quality
    acceptable = {form: quality for form, (_, quality) in best.items() if quality > 0}
    if not acceptable:
        return None
    top = max(acceptable.values())
    leaders = [form for form, quality in acceptable.items() if quality == top]
    return otherwise if otherwise in leaders else leaders[0]


def _fitting(media_range: str) -> list[tuple[Form, int]]:
    if media_range in _FORMS:
        return [(_FORMS[media_range], 2)]
    if media_range == "application/*":
        return [("json", 1), ("msgpack", 1)]
    if media_range == "*/*":
        return [("json", 0), ("msgpack", 0)]
    return []


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
