"""The hub's own library, imported where it is used, and its errors in our words."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from facetell.errors import HubError, MissingExtraError
from facetell.files import FULL
from facetell.names import shown_name

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from facetell.hub.reference import Reference

__all__ = ["UnreachableError", "answered", "client"]

_LOG_IN = "log in with: hf auth login; or set HF_TOKEN"


def client() -> HfApi:
    """What speaks with the hub of ``HF_ENDPOINT``. Raises ``MissingExtraError`` where its library is not installed."""
    try:
        import huggingface_hub
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise MissingExtraError("hf://", "hub") from None
    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub.HfApi(library_name="facetell")


class UnreachableError(HubError):
    """The hub gave no answer, or is not to be asked."""


@contextlib.contextmanager
def answered(what: str, reference: Reference, *, sending: bool = False) -> Iterator[None]:
    """Raise ``HubError``, with the next step, for what the hub answers where it gives no ``reference``, or if it is silent.

    ``sending``: it is to take one, for which no cache is of use.
    """
    import httpx2
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        if sending:
            raise UnreachableError(
                "nothing is sent: HF_HUB_OFFLINE is set", hint="unset it where there is a connection"
            ) from None
        raise UnreachableError(
            f"{reference} is not in the cache, and the hub is not asked: HF_HUB_OFFLINE is set",
            hint="fetch it once with a connection, or give a revision that was fetched before",
        ) from None
    except httpx2.TransportError as error:
        if sending:
            raise UnreachableError(
                f"{constants.ENDPOINT} cannot be reached: {error}", hint="check the connection, then send it again"
            ) from None
        raise UnreachableError(
            f"{constants.ENDPOINT} cannot be reached, and {reference} is not in the cache: {error}",
            hint="check the connection, or give a revision that was fetched before",
        ) from None
    except errors.GatedRepoError:
        raise HubError(
            f"the owner of {reference} lets in only those who ask", hint=f"ask on its page, then {_LOG_IN}"
        ) from None
    except errors.RepositoryNotFoundError:
        raise HubError(
            f"there is no {what} {reference}, or it is private and you are not let in",
            hint=f"check the name, or {_LOG_IN}",
        ) from None
    except errors.RevisionNotFoundError:
        raise HubError(
            f"{reference}: there is no such revision", hint="give a branch, a tag or a whole commit hash"
        ) from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        said = shown_name(error.server_message or f"status {code}")
        raise HubError(
            f"{constants.ENDPOINT} refuses {reference}: {said}",
            hint=_LOG_IN if code in (401, 403) else "try again later",
        ) from None
    except errors.LocalEntryNotFoundError:
        raise UnreachableError(
            f"the connection to {constants.ENDPOINT} ended before {reference} was fetched",
            hint="run it again: what has come is kept",
        ) from None
    except UnicodeEncodeError:
        raise HubError(
            "the token for the hub holds a character that none can have", hint=f"check HF_TOKEN, or {_LOG_IN}"
        ) from None
    except (OSError, RuntimeError) as error:  # of Xet too, the hub's way for large files
        if getattr(error, "errno", None) in FULL:
            raise
        raise HubError(
            f"the exchange with {constants.ENDPOINT} about {reference} failed: {error}",
            hint="try again later; HF_HUB_DISABLE_XET=1 for a hub without Xet",
        ) from error
