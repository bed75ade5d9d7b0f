"""gRPC messages for tests, made by the protobuf library from descriptors written by hand."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Proto = descriptor_pb2.FieldDescriptorProto
TEXT, BYTES = Proto.TYPE_STRING, Proto.TYPE_BYTES
NUMBER, FLAG, FLOAT = Proto.TYPE_UINT32, Proto.TYPE_BOOL, Proto.TYPE_FLOAT

# Of each message its fields: name, number, type or name of a message, whether it is repeated.
MESSAGES: dict[str, list[tuple[str, int, Any, bool]]] = {
    "TokenizedInput": [("original_text", 1, TEXT, False), ("input_ids", 2, NUMBER, True)],
    "SamplingParams": [("max_tokens", 8, NUMBER, False), ("temperature", 1, FLOAT, False)],
    "PlaceholderRange": [("offset", 1, NUMBER, False), ("length", 2, NUMBER, False)],
    "MultimodalInputs": [
        ("mm_placeholders", 5, "PlaceholderRange", True),
        ("mm_hashes", 6, TEXT, True),
    ],
    "GenerateRequest": [
        ("request_id", 1, TEXT, False),
        ("tokenized", 2, "TokenizedInput", False),
        ("text", 3, TEXT, False),
        ("sampling_params", 4, "SamplingParams", False),
        ("stream", 5, FLAG, False),
        ("mm_inputs", 7, "MultimodalInputs", False),
    ],
    "EmbedRequest": [("request_id", 1, TEXT, False), ("tokenized", 2, "TokenizedInput", False)],
    "GenerateStreamChunk": [
        ("token_ids", 1, NUMBER, True),
        ("prompt_tokens", 2, NUMBER, False),
        ("completion_tokens", 3, NUMBER, False),
        ("cached_tokens", 4, NUMBER, False),
    ],
    "GenerateComplete": [
        ("output_ids", 1, NUMBER, True),
        ("finish_reason", 2, TEXT, False),
        ("prompt_tokens", 3, NUMBER, False),
        ("completion_tokens", 4, NUMBER, False),
        ("cached_tokens", 5, NUMBER, False),
    ],
    "GenerateResponse": [
        ("chunk", 1, "GenerateStreamChunk", False),
        ("complete", 2, "GenerateComplete", False),
    ],
    "EmbedResponse": [
        ("embedding", 1, FLOAT, True),
        ("prompt_tokens", 2, NUMBER, False),
        ("embedding_dim", 3, NUMBER, False),
    ],
    "HttpBody": [("content_type", 1, TEXT, False), ("data", 2, BYTES, False)],
    "RawPredictRequest": [("endpoint", 1, TEXT, False), ("http_body", 2, "HttpBody", False)],
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, is_repeated in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = Proto.LABEL_REPEATED if is_repeated else Proto.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = Proto.TYPE_MESSAGE, f".t.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in MESSAGES
    }


CLASSES = _classes()


def message(type_name: str, **members: Any) -> bytes:
    """A message; a member that is a dict is a message itself."""
    made = CLASSES[type_name](**members)
    serialized: bytes = made.SerializeToString()
    return serialized


def body(type_name: str, **members: Any) -> bytes:
    """The same as the body of a request or a piece of an answer."""
    text = message(type_name, **members)
    return b"\0" + len(text).to_bytes(4, "big") + text
