"""Our protobuf definition: current, and the same on the wire as Envoy's."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import betterproto2
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from epp.extproc.pb import ext_proc_pb2 as pb

with warnings.catch_warnings():  # the package uses what its own dependencies call deprecated
    warnings.simplefilter("ignore")
    from envoy_data_plane.envoy.service.ext_proc import v3 as envoy

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "folder"), [("ext_proc.proto", "epp/extproc/pb"), ("interop.proto", "lab/pb")]
)
def test_the_generated_code_is_current(tmp_path: Path, name: str, folder: str) -> None:
    spec = importlib.util.spec_from_file_location("compile_proto", ROOT / "protos/compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.compile_proto(name, tmp_path)
    for made in tmp_path.iterdir():
        assert made.read_text() == (ROOT / folder / made.name).read_text(), made.name


def filled(message_class: type[Message], choice: int, depth: int = 0) -> Message:
    """A message with every field set; of each oneof the member with number ``choice``."""
    message = message_class()
    for field in message_class.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[choice % len(oneof.fields)] is not field:
            continue
        if depth < 8:
            _fill(message, field, choice, depth)
    return message


def _fill(message: Message, field: Any, choice: int, depth: int) -> None:
    target: Any = message
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        entries = getattr(target, field.name)
        entries["a name"].fields["b"].list_value.values.add().string_value = "10.0.0.1:80"
    elif kind is not None and field.is_repeated:
        getattr(target, field.name).add().MergeFrom(filled(_class_of(kind), choice, depth + 1))
    elif kind is not None and kind.full_name == "google.protobuf.Struct":
        getattr(target, field.name).fields["x"].struct_value.fields["y"].number_value = 2.5
    elif kind is not None:
        getattr(target, field.name).SetInParent()
        getattr(target, field.name).MergeFrom(filled(_class_of(kind), choice, depth + 1))
    elif field.is_repeated:
        getattr(target, field.name).append(_scalar(field))
    else:
        setattr(target, field.name, _scalar(field))


def _class_of(descriptor: Any) -> type[Message]:
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(descriptor)


def _scalar(field: Any) -> Any:
    if field.enum_type is not None:
        return 1
    return {
        FieldDescriptor.TYPE_BOOL: True,
        FieldDescriptor.TYPE_BYTES: b"\x00\xff bytes",
        FieldDescriptor.TYPE_STRING: "text \u00e9",
        FieldDescriptor.TYPE_INT32: 2,
        FieldDescriptor.TYPE_INT64: 7,
        FieldDescriptor.TYPE_UINT32: 7,
    }[field.type]


@pytest.mark.parametrize("choice", range(7))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pb.ProcessingRequest, envoy.ProcessingRequest),
        (pb.ProcessingResponse, envoy.ProcessingResponse),
    ],
)
def test_every_field_means_the_same_to_envoys_own_definition(
    ours: type[Message], theirs: type[betterproto2.Message], choice: int
) -> None:
    message = filled(ours, choice)
    through_envoy = bytes(theirs.parse(message.SerializeToString()))
    back = ours.FromString(through_envoy)
    assert back == message
    assert back.DESCRIPTOR.full_name.startswith("epp.ext_proc.")
    # nothing may have travelled as an unknown field: Envoy's side knows every field by name
    assert _names(theirs.parse(message.SerializeToString())) == _names_of(message)


def _names_of(message: Message) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


def _names(message: Any) -> set[str]:
    return set(message.to_dict(casing=betterproto2.Casing.SNAKE))
