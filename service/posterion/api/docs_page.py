"""The API's description as one HTML page without scripts, fonts or other requests."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

import orjson

CONTENT_SECURITY_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What the page may load: nothing but its own style."""

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .875rem }
pre { background: #f4f4f5; padding: 1rem; overflow-x: auto; border-radius: .375rem }
summary { cursor: pointer; padding: .25rem 0 }
table { border-collapse: collapse } td { padding: .125rem 1rem .125rem 0; vertical-align: top }
.method { display: inline-block; width: 3.5rem; font-weight: 700 }
@media (prefers-color-scheme: dark) {
  body { background: #18181b; color: #e4e4e7 } pre { background: #27272a } a { color: #93c5fd }
}
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """Render an OpenAPI document.

    Args:
        document: The document.

    Returns:
        A page that works without a network.
    """
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        _schema(name, schema) for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{escape(info['description'])}</p>"
        '<p>For machines: <a href="openapi.json">openapi.json</a></p>'
        f"<h2>Routes</h2>{operations}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = ", ".join(
        _code(reference["$ref"].rsplit("/", 1)[-1]) for reference in operation.get("parameters", [])
    )
    body = operation.get("requestBody")
    rows = [("Parameters", parameters)] if parameters else []
    if body is not None:
        rows.append(("Body", _content(body["content"])))
    for status, response in operation["responses"].items():
        answer = f"{escape(response['description'])}<br>{_content(response['content'])}"
        rows.append((status, answer))
    table = "".join(f"<tr><td>{escape(name)}</td><td>{text}</td></tr>" for name, text in rows)
    return (
        f'<details><summary><span class="method">{escape(method.upper())}</span>'
        f"{_code(path)} {escape(operation['summary'])}</summary>"
        f"<table>{table}</table></details>"
    )


def _content(content: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{_code(media_type)} {_link(described['schema'])}".strip()
        for media_type, described in content.items()
    )


def _link(schema: Mapping[str, Any]) -> str:
    if "$ref" not in schema:
        return ""
    name = escape(schema["$ref"].rsplit("/", 1)[-1], quote=True)
    return f'<a href="#{name}">{name}</a>'


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()
    return (
        f'<details id="{escape(name, quote=True)}"><summary>{_code(name)}</summary>'
        f"<pre>{escape(text)}</pre></details>"
    )


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
