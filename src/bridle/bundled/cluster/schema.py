"""What a CIB may hold, as far as that is looked at: which elements stand in which, and that ids are told
apart. Pacemaker has schemas in RELAX NG, which look at attributes and their values, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bridle.bundled.cluster.failure import SCHEMA_VALIDATION, failure
from bridle.bundled.cluster.tree import Node, dump, tag_of

__all__ = ["check"]

_MANDATORY = ("crm_config", "nodes", "resources", "constraints")
_OPTIONAL = ("rsc_defaults", "op_defaults", "acls", "fencing-topology", "tags", "alerts")
_AGENT = "instance_attributes meta_attributes operations utilization"
_INSIDE: Mapping[str, str] = {
    "configuration": " ".join((*_MANDATORY, *_OPTIONAL)),
    "crm_config": "cluster_property_set",
    "cluster_property_set": "nvpair rule",
    "instance_attributes": "nvpair rule",
    "meta_attributes": "nvpair rule",
    "utilization": "nvpair rule",
    "nvpair": "",
    "rule": "expression date_expression rsc_expression op_expression rule",
    "expression": "",
    "date_expression": "duration date_spec",
    "nodes": "node",
    "node": "instance_attributes utilization",
    "resources": "primitive template group clone master bundle",
    "template": _AGENT,
    "primitive": _AGENT,
    "group": "instance_attributes meta_attributes primitive",
    "clone": "instance_attributes meta_attributes primitive group",
    "master": "instance_attributes meta_attributes primitive group",
    "operations": "op",
    "op": "instance_attributes meta_attributes",
    "constraints": "rsc_location rsc_colocation rsc_order rsc_ticket",
    "rsc_location": "resource_set rule lifetime",
    "rsc_colocation": "resource_set rule lifetime",
    "rsc_order": "resource_set lifetime",
    "rsc_ticket": "resource_set",
    "resource_set": "resource_ref",
    "rsc_defaults": "meta_attributes",
    "op_defaults": "meta_attributes",
    "acls": "acl_target acl_group acl_role",
    "acl_target": "role",
    "acl_group": "role",
    "acl_role": "acl_permission",
    "fencing-topology": "fencing-level",
    "fencing-level": "",
    "tags": "tag",
    "tag": "obj_ref",
    "alerts": "alert",
    "alert": "instance_attributes meta_attributes recipient select",
    "recipient": "instance_attributes meta_attributes",
}
_ALLOWED = {tag: frozenset(inside.split()) for tag, inside in _INSIDE.items()}
_NAMED = frozenset({"primitive", "template", "group", "clone", "master", "bundle", "op", "node"})
# Elements that say another's id, as an id of their own.
_SHARED_IDS = frozenset({"obj_ref", "resource_ref", "role"})


def check(root: Node) -> None:
    """See that it is a CIB.

    Raises:
        CommandError: it is none; Pacemaker's code for what its schema does not allow, and in the answer the
            CIB that was refused.
    """
    wrong = _wrong(root)
    if wrong is not None:
        text = f"Update does not conform to the configured schema: {wrong}"
        raise failure(SCHEMA_VALIDATION, text, arguments={"cib": dump(root)})


def _wrong(root: Node) -> str | None:
    if root.tag != "cib":
        return f"a CIB is <cib>, not <{tag_of(root)}>"
    configuration = root.find("configuration")
    if configuration is None or Counter(map(tag_of, root)) != Counter(("configuration", "status")):
        return "a CIB has one configuration and one status, and nothing besides"
    sections = Counter(map(tag_of, configuration))
    for name in _MANDATORY:
        if not sections[name]:
            return f"there is no section {name}"
    for name, count in sections.items():
        if count > 1:
            return f"there are {count} sections {name}"
    return _wrong_inside(configuration)


def _wrong_inside(configuration: Node) -> str | None:
    seen: set[str] = set()
    for node in configuration.iter():
        tag = tag_of(node)
        allowed = _ALLOWED.get(tag)
        if allowed is not None:
            for child in node:
                if tag_of(child) not in allowed:
                    return f"<{tag}> has no place for <{tag_of(child)}>"
        identity = node.get("id")
        if identity is None:
            if tag in _NAMED:
                return f"<{tag}> needs an id"
        elif tag not in _SHARED_IDS:
            if identity in seen:
                return f"two elements have the id '{identity}'"
            seen.add(identity)
    return None
