"""What libipt's decoders of all layers share."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, TypeVar

from odograph.compat.libipt.config import Layer, for_native, pt_config, trace_of
from odograph.compat.libipt.errors import FromCallback, UnknownStatus
from odograph.compat.libipt.packet import pt_packet_unknown
from odograph.errors import InvalidArgument, OdographError, PtError

Parameters = ParamSpec("Parameters")
D = TypeVar("D", bound="Decoder")


class Decoder(ABC):
    """An opaque handle; ``raw`` is the decoder of the native module, None once it is freed."""

    __slots__ = ("__weakref__", "config", "raw", "unknown")
    layer: ClassVar[Layer] = "query"

    def __init__(self, config: pt_config) -> None:
        self.config = config
        self.unknown: dict[int, pt_packet_unknown] = {}
        self.raw: Any = self.make(trace_of(config), for_native(config, self.layer, self.unknown))

    @abstractmethod
    def make(self, trace: memoryview, values: dict[str, Any]) -> Any:
        """The decoder of the native module."""


def live(decoder: D | None, kind: type[D]) -> D:
    """The decoder, if there is one. InvalidArgument for None and for one that was freed."""
    if decoder is not None and not isinstance(decoder, kind):
        raise TypeError(f"the decoder must be a {kind.__name__} or None, not {type(decoder).__name__}")
    if decoder is None or decoder.raw is None:
        raise InvalidArgument("there is no decoder", code=PtError.invalid)
    return decoder


def returns_values(
    *untouched: Any,
) -> Callable[[Callable[Parameters, tuple[Any, ...]]], Callable[Parameters, tuple[Any, ...]]]:
    """Make a function return the negative of an error and ``untouched`` where ours would raise the error.

    Errors without a libipt code, and what a callback raised, come out as exceptions.
    """

    def decorate(function: Callable[Parameters, tuple[Any, ...]]) -> Callable[Parameters, tuple[Any, ...]]:
        @functools.wraps(function)
        def with_status(*args: Parameters.args, **kwargs: Parameters.kwargs) -> tuple[Any, ...]:
            try:
                return function(*args, **kwargs)
            except UnknownStatus as error:
                return error.status, *untouched
            except OdographError as error:
                if error.code is None or FromCallback.marks(error):
                    raise
                return -int(error.code), *untouched

        return with_status

    return decorate


def uint64(number: int) -> int:
    """A number as a C function gets it that takes a ``uint64_t``."""
    return operator.index(number) & ((1 << 64) - 1)
