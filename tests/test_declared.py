"""What a file says of itself: files are made by other programs' writers (Pillow, pillow-heif, FFmpeg, c2pa) or by the
specification, and read by ours."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline import judge_here
from PIL import Image, PngImagePlugin
from schema import errors
from signing import GENERATED, signed, signer
from test_judge import SCHEMA, run

from facetell.declared.declared import Claim, Credentials, Declared
from facetell.declared.reading import declared_by

PARAMETERS = (
    "portrait of a woman, 35mm\nNegative prompt: blurry\nSteps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 3, "
    "Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: v1.9.4"
)
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 8566257, "steps": 20}}})
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:dcterms="http://purl.org/dc/terms/" {}>{}</rdf:Description>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
GOOGLE = XMP.format(
    f'Iptc4xmpExt:DigitalSourceType="{GENERATED}"', "<photoshop:Credit>Made with Google AI</photoshop:Credit>"
)
GOOGLE_SAYS = [
    Claim("source_type", GENERATED, "generated", "XMP DigitalSourceType"),
    Claim("generator", "Google AI", "generated", "XMP Credit"),
]


def image(mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((32, 24)).convert(mode)


def saved(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image().save(out, kind, **options)
    return out.getvalue()


def exif(**tags: Any) -> Image.Exif:
    found = Image.Exif()
    numbers = {"description": 0x010E, "make": 0x010F, "model": 0x0110, "software": 0x0131}
    for name, value in tags.items():
        if name == "comment":
            found.get_ifd(0x8769)[0x9286] = value
        else:
            found[numbers[name]] = value
    return found


def png(**texts: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        chunks.add_text(key.replace("_", "-") if key == "sd_metadata" else key, value)
    return saved("PNG", pnginfo=chunks)


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def with_chunk(kind: bytes, data: bytes) -> bytes:
    whole = saved("PNG")
    return whole[:33] + chunk(kind, data) + whole[33:]


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return (len(data) + 8).to_bytes(4, "big") + kind + data


@pytest.fixture
def says(tmp_path: Path) -> Callable[[bytes], Declared | None]:
    def of(data: bytes) -> Declared | None:
        (tmp_path / "file").write_bytes(data)
        return declared_by(tmp_path / "file")

    return of


Says = Callable[[bytes], Declared | None]


# --- texts of generators


@pytest.mark.parametrize(
    ("data", "name", "where"),
    [
        (png(parameters=PARAMETERS), "Stable Diffusion", "PNG parameters"),
        (png(prompt=GRAPH, workflow='{"last_node_id": 9}'), "ComfyUI", "PNG prompt"),
        (png(invokeai_metadata='{"app_version": "4.2.9"}'), "InvokeAI", "PNG invokeai_metadata"),
        (png(sd_metadata='{"model": "stable diffusion"}'), "InvokeAI", "PNG sd-metadata"),
        (png(Software="NovelAI", Source="NovelAI Diffusion V4 4F49EC75"), "NovelAI", "PNG Software"),
        (png(Description="a face --v 6.1 Job ID: 1a2b3c4d-aaaa-bbbb-cccc-1234567890ab"), "Midjourney", "PNG Description"),
        (png(parameters='{"sui_image_params": {"prompt": "x"}}'), "SwarmUI", "PNG parameters"),
        (saved("PNG", exif=exif(software="Adobe Firefly 3")), "Adobe Firefly", "EXIF Software"),
        (saved("JPEG", exif=exif(software="DALL-E 3")), "DALL·E", "EXIF Software"),
        (saved("JPEG", exif=exif(comment=b"UNICODE\0" + PARAMETERS.encode("utf-16-be"))), "Stable Diffusion",
         "EXIF UserComment"),
        (saved("WEBP", exif=exif(comment=b"UNICODE\0" + PARAMETERS.encode("utf-16-le"))), "Stable Diffusion",
         "EXIF UserComment"),
        (saved("WEBP", exif=exif(make="workflow:{}", model=f"prompt:{GRAPH}")), "ComfyUI", "EXIF Model"),
        (saved("TIFF", tiffinfo={0x0131: "Grok"}), "Grok", "EXIF Software"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_traces_of_generators(says: Says, data: bytes, name: str, where: str) -> None:
    said = says(data)
    assert said is not None
    assert Claim("generator", name, "generated", where) in said.claims
    assert said.brief == f"says of itself: generated by {name} (claimed, not signed)"


@pytest.mark.parametrize("add", ["add_itxt", "add_text"])
def test_compressed_texts_and_those_behind_the_pixels(says: Says, add: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    getattr(chunks, add)("parameters", PARAMETERS, zip=True)
    whole = saved("PNG", pnginfo=chunks)
    assert says(whole).claims[0].value == "Stable Diffusion"  # type: ignore[union-attr]
    behind = saved("PNG")[:-12] + chunk(b"iTXt", b"parameters\0\0\0\0\0" + PARAMETERS.encode()) + saved("PNG")[-12:]
    assert says(behind).claims[0].value == "Stable Diffusion"  # type: ignore[union-attr]


def test_a_camera_is_a_mere_claim_and_makes_no_note_in_the_table(says: Says) -> None:
    said = says(saved("JPEG", exif=exif(make="Canon", model="Canon EOS R5")))
    assert said == Declared(
        claims=[
            Claim("camera", "Canon", "captured", "EXIF Make"),
            Claim("camera", "Canon EOS R5", "captured", "EXIF Model"),
        ]
    )
    assert said.brief == ""


def test_the_label_of_gb_45438(says: Says) -> None:
    """Two ways of the practice guide of TC260: a PNG text, and the user comment of EXIF."""
    label = '{"Label":"1","ContentProducer":"x","ProduceID":"y"}'
    assert says(png(AIGC=label)).claims == [Claim("label", "AIGC 1", "generated", "PNG AIGC")]  # type: ignore[union-attr]
    comment = b"ASCII\0\0\0" + f'{{"AIGC":{label.replace("1", "2")}}}'.encode()
    said = says(saved("JPEG", exif=exif(comment=comment)))
    assert said == Declared(claims=[Claim("label", "AIGC 2", None, "EXIF UserComment")])


@pytest.mark.parametrize(
    "data",
    [
        saved("JPEG"), saved("PNG"), saved("WEBP"), saved("TIFF"), saved("BMP"), saved("GIF"), b"", b"\xff\xd8", b"text",
        png(Software="GIMP 2.10", Comment="Steps: 3, to the left", Title="Firefly at night"),
        saved("JPEG", exif=exif(software="Adobe Photoshop 25.1", description="Signature: me, the imagen of a face")),
    ],
    ids=lambda _: "",
)  # fmt: skip
def test_who_says_nothing_of_it_has_nothing_declared(says: Says, data: bytes) -> None:
    assert says(data) is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert declared_by(tmp_path / "none.jpg") is None
    assert declared_by(tmp_path) is None


# --- XMP and IPTC


def heic(**options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(image()).save(out, format="HEIF", quality=50, **options)
    return out.getvalue()


def quicktime() -> bytes:
    """XMP in the box that XMP part 3 names, behind a film without frames."""
    uuid = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
    return box(b"ftyp", b"qt  ", bytes(4)) + box(b"moov", box(b"udta")) + box(b"uuid", uuid, GOOGLE.encode())


@pytest.mark.parametrize(
    "made",
    [
        lambda: saved("JPEG", xmp=GOOGLE.encode()),
        lambda: saved("WEBP", xmp=GOOGLE.encode()),
        lambda: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + GOOGLE.encode()),
        lambda: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(GOOGLE.encode())),
        lambda: saved("TIFF", tiffinfo={700: GOOGLE.encode()}),
        lambda: saved("AVIF", xmp=GOOGLE.encode()),
        lambda: heic(xmp=GOOGLE.encode()),
        quicktime,
    ],
    ids=["jpeg", "webp", "png", "png packed", "tiff", "avif", "heic", "mov"],
)
def test_digital_source_type_and_credit_in_every_format(says: Says, made: Callable[[], bytes]) -> None:
    assert says(made()) == Declared(claims=GOOGLE_SAYS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_exif_in_every_format(says: Says, kind: str) -> None:
    tags = exif(make="Canon", comment=b"ASCII\0\0\0" + PARAMETERS.encode())
    data = heic(exif=tags.tobytes()) if kind == "HEIF" else saved(kind, exif=tags)
    said = says(data)
    assert said is not None
    assert [claim.value for claim in said.claims] == ["Canon", "Stable Diffusion"]


@pytest.mark.parametrize(
    ("term", "means"),
    [
        ("trainedAlgorithmicMedia", "generated"),
        ("compositeWithTrainedAlgorithmicMedia", "partly generated"),
        ("digitalCapture", "captured"),
        ("digitalCreation", None),
    ],
)
def test_terms_of_iptc_as_attribute_element_and_resource(says: Says, term: str, means: str | None) -> None:
    address = f"http://cv.iptc.org/newscodes/digitalsourcetype/{term}"
    name = "Iptc4xmpExt:DigitalSourceType"
    for form in (
        XMP.format(f'{name}="{address}"', ""),
        XMP.format("", f"<{name}>{address}</{name}>"),
        XMP.format("", f'<{name} rdf:resource="{address}"/>'),
        XMP.format("", f"<{name}><rdf:Bag><rdf:li>{address}</rdf:li></rdf:Bag></{name}>"),
    ):
        said = says(saved("JPEG", xmp=form.encode()))
        assert said == Declared(claims=[Claim("source_type", address, means, "XMP DigitalSourceType")])  # type: ignore[arg-type]


def test_a_step_of_history_makes_a_picture_partly_generated(says: Says) -> None:
    history = (
        '<xmpMM:History xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"><rdf:Seq>'
        '<rdf:li xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" stEvt:action="edited" '
        'stEvt:softwareAgent="Adobe Firefly"/></rdf:Seq></xmpMM:History>'
    )
    said = says(saved("JPEG", xmp=XMP.format("", history).encode()))
    assert said == Declared(claims=[Claim("generator", "Adobe Firefly", "partly generated", "XMP softwareAgent")])


def test_xmp_that_goes_on_in_further_segments(says: Says) -> None:
    """XMP part 3, 1.1.3.1: parts of a packet in any order, each with the digest, the whole length and its place."""
    data, guid = GOOGLE.encode(), b"5B8CF4A7D6B14E7A8C9F0A1B2C3D4E5F"
    parts = [
        segment(
            0xE1,
            b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">II", len(data), at) + data[at : at + 200],
        )
        for at in range(0, len(data), 200)
    ]
    whole = saved("JPEG")
    assert says(whole[:2] + b"".join(reversed(parts)) + whole[2:]) == Declared(claims=GOOGLE_SAYS)


def test_the_credit_line_of_iptc(says: Says) -> None:
    """IPTC-IIM 4.2: 2:110; in the block 0x0404 of Photoshop's segment, behind one with an odd name."""
    credit = b"Made with Google AI"
    record = b"\x1c\x02\x00\x00\x02\x00\x04" + b"\x1c\x02\x6e" + len(credit).to_bytes(2, "big") + credit
    blocks = b"8BIM\x04\x25\x02ab\0" + struct.pack(">I", 3) + b"xyz\0"
    blocks += b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(record)) + record
    whole = saved("JPEG")
    said = says(whole[:2] + segment(0xED, b"Photoshop 3.0\0" + blocks) + whole[2:])
    assert said == Declared(claims=[Claim("generator", "Google AI", "generated", "IPTC Credit")])


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {}), ("mov", {"movflags": "use_metadata_tags"})])
def test_tags_of_videos(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    """As FFmpeg writes them: ComfyUI's nodes put the graph into the comment."""
    av = pytest.importorskip("av", reason="needs av")
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w", options=options) as container:
        container.metadata["comment"] = GRAPH
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_image(image())))
        container.mux(stream.encode())
    said = declared_by(path)
    assert said is not None
    assert [(claim.value, claim.means) for claim in said.claims] == [("ComfyUI", "generated")]


# --- Content Credentials


def mp4() -> bytes:
    return box(b"ftyp", b"isom", bytes(4)) + box(b"moov", box(b"udta")) + box(b"mdat", bytes(64))


@pytest.mark.parametrize(
    ("mime", "data"),
    [("image/jpeg", saved("JPEG")), ("image/png", saved("PNG")), ("image/webp", saved("WEBP")),
     ("image/tiff", saved("TIFF")), ("image/avif", saved("AVIF")), ("video/mp4", mp4())],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_content_credentials_in_every_format(says: Says, mime: str, data: bytes) -> None:
    signer()
    said = says(signed(data, mime))
    assert said is not None
    assert said.credentials == Credentials(
        "valid", None, "Newsroom", "A signer", None, "Toy studio 1.2", ["c2pa.created"]
    )
    assert said.claims == [
        Claim("source_type", GENERATED, "generated", "Content Credentials", signed=True),
        Claim("generator", "Midjourney", "generated", "Content Credentials", signed=True),
    ]
    assert said.brief == (
        "says of itself: generated by Midjourney (signed); Content Credentials: valid, signed by Newsroom (trust not configured)"
    )


def test_a_file_changed_after_signing_is_invalid_and_its_claims_count_as_unsigned(says: Says) -> None:
    signer()
    data = bytearray(signed(saved("JPEG"), "image/jpeg"))
    data[-20] ^= 1
    said = says(bytes(data))
    assert said is not None
    assert said.credentials is not None
    assert (said.credentials.signature, said.credentials.problems) == ("invalid", ["assertion.dataHash.mismatch"])
    assert said.claims
    assert not any(claim.signed for claim in said.claims)
    assert said.brief.endswith("(claimed, not signed); Content Credentials: invalid")


def test_credentials_that_cannot_be_read_are_invalid(says: Says) -> None:
    signer()
    data = bytearray(signed(saved("JPEG"), "image/jpeg"))
    at = data.index(b"c2pa.actions")
    data[at - 60 : at + 200] = bytes(260)
    said = says(bytes(data))
    assert said is not None
    assert said.credentials is not None
    assert said.credentials.signature == "invalid"
    assert said.credentials.problems


def test_trust_is_given_to_configured_anchors_alone(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, data = signer(), signed(saved("PNG"), "image/png")
    anchors = tmp_path / "anchors.pem"
    monkeypatch.setenv("FACETELL_TRUST_ANCHORS", str(anchors))

    def trusted() -> bool | None:
        found = says(data)
        assert found is not None
        assert found.credentials is not None
        assert found.credentials.signature == ("valid" if anchors.exists() else None)
        return found.credentials.trusted

    assert trusted() is None, "no such file"
    anchors.write_bytes(who.root)
    assert trusted() is True
    signer.cache_clear()
    anchors.write_bytes(signer().root)
    assert trusted() is False


def test_what_a_picture_was_made_of(says: Says) -> None:
    signer()
    generated = signed(saved("JPEG"), "image/jpeg")
    whole = says(signed(saved("JPEG"), "image/jpeg", parent=generated))
    part = says(signed(saved("JPEG"), "image/jpeg", part=generated))
    for said, means in ((whole, "generated"), (part, "partly generated")):
        assert said is not None
        assert said.credentials is not None
        assert said.credentials.signature == "valid"
        assert next(claim for claim in said.claims if "ingredient" in claim.where) == Claim(
            "source_type", GENERATED, means, "Content Credentials of an ingredient", True
        )  # type: ignore[arg-type]


def test_without_the_extra_it_says_what_to_install(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    signer()
    data = signed(saved("JPEG"), "image/jpeg")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    said = says(data)
    assert said is not None
    assert said.credentials == Credentials(
        None, note="there are Content Credentials; pip install 'facetell[credentials]' checks them"
    )
    assert said.brief == said.credentials.note


def test_credentials_kept_elsewhere_are_named_and_not_fetched(says: Says) -> None:
    said = says(saved("JPEG", xmp=XMP.format('dcterms:provenance="https://example.com/a.c2pa"', "").encode()))
    assert said is not None
    assert said.credentials == Credentials(
        None, note="Content Credentials are kept at https://example.com/a.c2pa, which was not opened"
    )


def test_names_in_a_certificate_write_nothing_else_on_a_terminal(says: Says) -> None:
    said = says(
        saved("JPEG", xmp=XMP.format("", "<dcterms:provenance>https://x/\u202eevil&#9;</dcterms:provenance>").encode())
    )
    assert said is not None
    assert said.brief.isprintable()


# --- hostile files


LEVELS = [f'<!ENTITY {"abcdefghij"[level + 1]} "{("&" + "abcdefghij"[level] + ";") * 10}">' for level in range(9)]
BOMB = f'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{"".join(LEVELS)}]>'


@pytest.mark.parametrize(
    "made",
    [
        lambda: saved("JPEG", xmp=(BOMB + XMP.format("", "<photoshop:Credit>&j;</photoshop:Credit>")).encode()),
        lambda: saved("JPEG", xmp=b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'),
        lambda: with_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(50_000_000), 9)),
        lambda: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(50_000_000), 9)),
        lambda: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"<a>" * 300_000),
        lambda: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<a " + b" ".join(b"b%d='c'" % i for i in range(90_000))),
        lambda: b"\xff\xd8" + segment(0xE1, b"") * 40_000,
        lambda: saved("PNG")[:33] + chunk(b"tEXt", b"Software\0Midjourney") * 40_000,
        lambda: b"II*\0\x08\0\0\0" + b"\xff\xff" + struct.pack("<HHII", 0x0131, 2, 2**31, 8) * 65_535,
        lambda: b"II*\0\x08\0\0\0" + b"\x01\x00" + struct.pack("<HHII", 0x8769, 4, 1, 8),
        lambda: box(b"ftyp", b"heic", bytes(4)) + box(b"free") * 40_000,
        lambda: box(b"ftyp", b"isom", bytes(4)) + (box(b"moov", box(b"udta", box(b"meta", bytes(4), b"\0" * 8 * 1000)))) * 99,
    ],
    ids=["entities", "outside entity", "zTXt bomb", "XMP bomb", "deep XMP", "wide XMP", "segments", "chunks", "tags", "loop",
         "boxes", "nothing in boxes"],
)  # fmt: skip
def test_hostile_metadata_costs_little(says: Says, made: Callable[[], bytes]) -> None:
    data = made()
    begin = time.process_time()
    said = says(data)
    assert time.process_time() - begin < 2.0, "seconds of CPU"
    tracemalloc.start()
    says(data[:1_000_000])
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert said is None or len(said.claims) <= 50


def test_what_of_xmp_was_not_read_is_said(says: Says) -> None:
    typed, cut = b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', GOOGLE.encode()[:-30]
    for packet, why in ((typed, "document type"), (cut, "no element found|unclosed|mismatched")):
        said = says(saved("JPEG", xmp=packet))
        assert said is not None
        assert re.search(f"XMP packet was not read to its end: .*({why})", str(said.note))
    assert says(saved("JPEG", xmp=GOOGLE.encode())).note is None  # type: ignore[union-attr]


@pytest.mark.slow
def test_no_bytes_end_it(says: Says) -> None:
    """Files of every kind with bytes changed and cut off: it says something, or nothing."""
    tags = exif(make="Canon", comment=b"ASCII\0\0\0" + PARAMETERS.encode())
    files = [
        saved("JPEG", exif=tags, xmp=GOOGLE.encode()), saved("WEBP", exif=tags, xmp=GOOGLE.encode()),
        saved("PNG", exif=tags), png(parameters=PARAMETERS), saved("TIFF", tiffinfo={700: GOOGLE.encode()}),
        saved("AVIF", exif=tags, xmp=GOOGLE.encode()), quicktime(),
    ]  # fmt: skip
    random_ = random.Random(7)
    for data in files:
        for _ in range(150):
            changed = bytearray(data[: random_.randint(12, len(data))] if random_.random() < 0.3 else data)
            for _ in range(random_.randint(1, 20)):
                changed[random_.randrange(4, min(len(changed), 1500))] = random_.randrange(256)
            said = says(bytes(changed))
            assert said is None or isinstance(said, Declared)


# --- beside a verdict


def test_it_stands_beside_the_verdict_and_changes_no_score(
    fitted: Path, shared: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, faces: object,
) -> None:  # fmt: skip
    judge_here(monkeypatch)
    plain = shared("toy", lambda _: None) / "pictures" / "train-0-real.png"
    said = tmp_path / "said.png"
    whole = plain.read_bytes()
    said.write_bytes(whole[:33] + chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode("latin-1")) + whole[33:])
    code, out, err = run(capsys, "detect", fitted, plain, said, "--faces", "crops", "--json")
    assert code == 0, err
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["declared"] is None
    assert second["declared"] == {
        "credentials": None, "note": None,
        "claims": [{"kind": "generator", "value": "Stable Diffusion", "means": "generated", "where": "PNG parameters",
                    "signed": False}],
    }  # fmt: skip
    same = set(first) - {"path", "file", "declared"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    for line in (first, second):
        assert list(errors(line, SCHEMA, SCHEMA)) == []
    _, out, _ = run(capsys, "detect", fitted, said, "--faces", "crops")
    assert out.rstrip().endswith("said.png [says of itself: generated by Stable Diffusion (claimed, not signed)]")
