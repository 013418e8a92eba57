"""Which texts say that a generator made a picture, or a camera: what they are known to write.

Makers document little of this. The settings of Stable Diffusion are those of AUTOMATIC1111's web UI, the graphs those of
ComfyUI, as their programs read them back; the rest are names in the fields that tools write their own name into.
"""

from __future__ import annotations

import re

from facetell.declared.declared import Claim, Meaning
from facetell.declared.xmp import Property

__all__ = ["SOURCE_TYPES", "claims_of_properties", "claims_of_texts", "generator_named", "source_type"]

SOURCE_TYPES: dict[str, Meaning] = {
    "trainedAlgorithmicMedia": "generated",
    "algorithmicMedia": "generated",
    "compositeWithTrainedAlgorithmicMedia": "partly generated",
    "compositeSynthetic": "partly generated",
    "digitalCapture": "captured",
    "computationalCapture": "captured",
    "negativeFilm": "captured",
    "positiveFilm": "captured",
    "print": "captured",
}
"""Terms of https://cv.iptc.org/newscodes/digitalsourcetype/ that say generated or captured; the others say neither."""

_SOURCE_TYPE = re.compile(r"(?:https?://(?:cv\.iptc\.org/newscodes|c2pa\.org)/digitalsourcetype/)?([A-Za-z]{3,60})")
_LONGEST = 200

_NAMES = {
    "Midjourney": r"\bmidjourney\b",
    "DALL·E": r"\bdall[·.\- ]?e\b",
    "OpenAI": r"\bopenai\b|\bchatgpt\b|\bgpt-4o\b|\bgpt-image\b|\bsora\b",
    "Adobe Firefly": r"\badobe[ _]firefly\b|^firefly\b",
    "Google AI": r"\bmade with google ai\b|\bgoogle (?:gemini|imagen|veo|generative ai)\b|^gemini\b|^imagen \d",
    "Grok": r"\bgrok\b|\bxai\b",
    "Stable Diffusion": r"\bstable[ -]?diffusion\b|\bstability ai\b|\bdreamstudio\b",
    "FLUX": r"\bblack forest labs\b|\bflux\.1\b",
    "NovelAI": r"\bnovelai\b",
    "ComfyUI": r"\bcomfyui\b",
    "InvokeAI": r"\binvokeai\b",
    "Fooocus": r"\bfooocus\b",
    "Microsoft": r"\bbing image creator\b|\bmicrosoft designer\b",
    "Ideogram": r"\bideogram\b",
    "Leonardo.Ai": r"\bleonardo\.ai\b",
    "Runway": r"\brunwayml\b",
}
_NAMED = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _NAMES.items()]

_TOOL_FIELDS = re.compile(
    r"(?:Software|Credit|Source|Author|Artist|CreatorTool|softwareAgent|AISystemUsed|\xa9too|\xa9swr|encoder|software"
    r"|com\.apple\.quicktime\.software)$"
)
_SETTINGS = [
    # name, where, what
    (
        "Stable Diffusion",
        r"(?:PNG parameters|UserComment|ImageDescription|MP4 .*)$",
        r"\bSteps: \d+, (?:\w[\w ]*: [^,\n]*, ){0,20}?Sampler: ",
    ),
    ("SwarmUI", r"", r'"sui_image_params"'),
    ("Fooocus", r"PNG fooocus_scheme$", r""),
    ("ComfyUI", r"", r'"class_type"\s*:'),
    ("ComfyUI", r"", r'"last_node_id"\s*:'),
    ("InvokeAI", r"PNG (?:invokeai_metadata|invokeai_graph|invokeai_workflow|sd-metadata|Dream)$", r""),
    ("Midjourney", r"(?:Description|description|ImageDescription)$", r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-"),
    ("Grok", r"EXIF ImageDescription$", r"^Signature: [A-Za-z0-9+/]{60,}={0,2}$"),
]
_KNOWN_SETTINGS = [(name, re.compile(where), re.compile(what)) for name, where, what in _SETTINGS]

_LABELLED = re.compile(r'"Label"\s*:\s*"?([123])\b')
_CAMERA = re.compile(r"(?:EXIF|XMP) (?:Make|Model)$|MP4 (?:\xa9mak|\xa9mod|com\.apple\.quicktime\.(?:make|model))$")

_SPACES = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "http://ns.adobe.com/photoshop/1.0/",
    "http://ns.adobe.com/xap/1.0/",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "http://ns.adobe.com/tiff/1.0/",
    "http://ns.adobe.com/exif/1.0/",
    "http://purl.org/dc/elements/1.1/",
}


def generator_named(text: str) -> str | None:
    """The generator that a tool's name is the name of."""
    return next((name for name, pattern in _NAMED if pattern.search(text[:_LONGEST])), None)


def source_type(value: str, where: str, *, signed: bool = False) -> Claim | None:
    """The claim of a digital source type, as an address or its last part; None for what is none."""
    match = _SOURCE_TYPE.fullmatch(value.strip())
    if match is None:
        return None
    return Claim("source_type", value.strip(), SOURCE_TYPES.get(match[1]), where, signed)


def claims_of_texts(texts: list[tuple[str, str]]) -> list[Claim]:
    """What texts claim, each with where it stands."""
    claims: list[Claim] = []
    for where, text in texts:
        claims.extend(
            Claim("generator", name, "generated", where)
            for name, place, what in _KNOWN_SETTINGS
            if place.search(where) and what.search(text)
        )
        named = generator_named(text) if _TOOL_FIELDS.search(where) else None
        if named is not None:
            claims.append(Claim("generator", named, _by_tool(where), where))
        label = _LABELLED.search(text) if where.endswith("AIGC") or '"AIGC"' in text else None
        if label:
            claims.append(Claim("label", f"AIGC {label[1]}", "generated" if label[1] == "1" else None, where))
        if _CAMERA.search(where) and len(text) <= _LONGEST:
            claims.append(Claim("camera", text, "captured", where))
    return list(dict.fromkeys(claims))


def _by_tool(where: str) -> Meaning:
    """A step in a picture's history that a generator did may be one among others."""
    return "partly generated" if where.endswith("softwareAgent") else "generated"


def claims_of_properties(properties: list[Property]) -> list[Claim]:
    """What the properties of XMP claim."""
    claims: list[Claim] = []
    texts: list[tuple[str, str]] = []
    for space, name, value in properties:
        if name in ("DigitalSourceType", "digitalSourceType"):
            said = source_type(value, f"XMP {name}")
            claims.extend([said] if said else [])
        elif name == "AIGC" or space in _SPACES:
            texts.append((f"XMP {name}", value))
    return list(dict.fromkeys([*claims, *claims_of_texts(texts)]))
