"""Pacemaker's return codes in words (``facts/pacemaker.md`` §6): errno's, and its own beyond these."""

from __future__ import annotations

import errno

__all__ = ["describe", "name_of"]

_OWN = {
    201: ("pcmk_err_generic", "an error that Pacemaker says no more of"),
    202: ("pcmk_err_no_quorum", "the cluster has no quorum"),
    203: ("pcmk_err_schema_validation", "the CIB does not fit its schema"),
    204: ("pcmk_err_transform_failed", "the CIB could not be changed to another schema"),
    205: ("pcmk_err_old_data", "the change is older than the CIB"),
    206: ("pcmk_err_diff_failed", "the change does not fit the CIB"),
    207: ("pcmk_err_diff_resync", "the change does not fit the CIB, which has to be sent whole"),
    208: ("pcmk_err_cib_modified", "the file of the CIB was changed by hand"),
    209: ("pcmk_err_cib_backup", "the file of the CIB could not be archived"),
    210: ("pcmk_err_cib_save", "the CIB could not be saved"),
    211: ("pcmk_err_schema_unchanged", "the CIB has the latest schema already"),
    212: ("pcmk_err_cib_corrupt", "the CIB is damaged"),
    213: ("pcmk_err_multiple", "more than one thing has that name"),
    214: ("pcmk_err_node_unknown", "the node is unknown"),
    215: ("pcmk_err_already", "that has been done already"),
    216: ("pcmk_err_bad_nvpair", "a name and its value do not go together"),
    217: ("pcmk_err_unknown_format", "a format that nobody knows"),
}
_WORDS = {
    errno.EPERM: "the operation is not permitted",
    errno.ENOENT: "there is no such thing",
    errno.ENXIO: "there is no such thing",
    errno.ENODEV: "there is no such device or resource",
    errno.EACCES: "permission denied",
    errno.EEXIST: "it is there already",
    errno.EINVAL: "an argument is invalid",
    errno.EPROTO: "the request breaks the protocol",
    errno.EAGAIN: "not now; try again",
    errno.ENOTCONN: "not connected",
    errno.ETIME: "it took too long",
    errno.ETIMEDOUT: "it took too long",
    errno.EOPNOTSUPP: "that is not supported",
    errno.EPROTONOSUPPORT: "the daemon does not support that",
    errno.EHOSTUNREACH: "the node cannot be reached, or nothing can fence it",
    errno.EINPROGRESS: "it is going on",
    errno.ENOTUNIQ: "more than one thing has that name",
    errno.EMSGSIZE: "the message is too large",
}


def name_of(code: int) -> str:
    """The name of a return code: ``ENXIO``, ``pcmk_err_old_data``; its digits where it has none."""
    number = abs(code)
    if number == errno.EOPNOTSUPP:
        return "EOPNOTSUPP"  # it has another name with the same number, which Python gives
    return _OWN[number][0] if number in _OWN else errno.errorcode.get(number, str(code))


def describe(code: int) -> str:
    """What a return code says, and its name."""
    number = abs(code)
    text = _OWN[number][1] if number in _OWN else _WORDS.get(number, "the daemon reports an error")
    return f"{text} ({name_of(number)})"
