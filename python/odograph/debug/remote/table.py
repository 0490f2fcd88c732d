"""Every packet that is answered, by its beginning. Anything else is answered with nothing."""

from __future__ import annotations

from odograph.debug.remote import (
    breakpointpackets,
    files,
    memorypackets,
    monitor,
    queries,
    registerpackets,
    resume,
    transfer,
)
from odograph.debug.remote.session import Handler

__all__ = ["HANDLERS"]

HANDLERS: dict[str, Handler] = {
    "?": resume.last_stop,
    "c": resume.on,
    "C": resume.on,
    "s": resume.on_one,
    "S": resume.on_one,
    "bc": resume.back,
    "bs": resume.back_one,
    "vCont?": resume.which_actions,
    "vCont;": resume.actions,
    "g": registerpackets.read_all,
    "p": registerpackets.read_one,
    "G": registerpackets.refuse,
    "P": registerpackets.refuse,
    "m": memorypackets.read,
    "M": registerpackets.refuse,
    "X": registerpackets.refuse,
    "qMemoryRegionInfo:": memorypackets.region,
    "Z": breakpointpackets.insert,
    "z": breakpointpackets.remove,
    "H": queries.ok,
    "T": queries.is_alive,
    "D": queries.detach,
    "k": queries.kill,
    "vKill": queries.detach,
    "qSupported": queries.supported,
    "QStartNoAckMode": queries.no_acknowledgements,
    "qC": queries.current_thread,
    "qfThreadInfo": queries.first_threads,
    "qsThreadInfo": queries.rest_of_threads,
    "qThreadExtraInfo,": queries.extra_info,
    "qAttached": queries.attached,
    "qHostInfo": queries.host_info,
    "qProcessInfo": queries.process_info,
    "qRcmd,": monitor.command,
    "qXfer:features:read:": transfer.features,
    "qXfer:auxv:read:": transfer.auxv,
    "qXfer:libraries-svr4:read:": transfer.libraries,
    "qXfer:exec-file:read:": transfer.exec_file,
    "qXfer:threads:read:": transfer.threads,
    "vFile:setfs:": files.set_filesystem,
    "vFile:open:": files.open_file,
    "vFile:pread:": files.pread,
    "vFile:fstat:": files.fstat,
    "vFile:close:": files.close,
    # Beginnings of these that mean something else here.
    "qCRC:": queries.nothing,
}
