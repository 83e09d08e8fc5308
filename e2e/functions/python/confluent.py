"""Trades written and read by Confluent's own serializers.

    confluent.py register BOOTSTRAP REGISTRY TOPIC FORMAT        the schema of a topic's values
    confluent.py produce  BOOTSTRAP REGISTRY TOPIC FORMAT COUNT  as many trades, by such a schema
    confluent.py consume  BOOTSTRAP REGISTRY TOPIC FORMAT COUNT  as many trades, a line of JSON each

FORMAT is AVRO, PROTOBUF or JSON.
"""

import json
import sys
import time
from decimal import Decimal

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SIDES = ["BUY", "SELL"]
AVRO_SIDE = {"type": "enum", "name": "Side", "namespace": "market", "symbols": SIDES}
AVRO = {
    "type": "record", "name": "Trade", "namespace": "market", "fields": [
        {"name": "symbol", "type": "string"},
        {"name": "quantity", "type": "long"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "side", "type": "market.Side"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}
JSON = {
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "Trade", "type": "object",
    "properties": {
        "symbol": {"type": "string"}, "quantity": {"type": "integer"}, "price": {"type": "string"},
        "side": {"enum": SIDES}, "note": {"type": ["string", "null"]},
    },
    "required": ["symbol", "quantity", "price", "side"], "additionalProperties": False,
}


def trade(number):
    note = f"note {number}" if number % 3 == 0 else None
    return {"symbol": f"S{number % 7}", "quantity": number, "price": f"{number}.25",
            "side": SIDES[number % 2], "note": note}


def message(first):
    """The class of a message that is the first of its file, or the second."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"trade{int(first)}.proto", package="market", syntax="proto3")
    other = descriptor_pb2.DescriptorProto(name="Other")
    ours = descriptor_pb2.DescriptorProto(name="Trade")
    fields = [("symbol", kinds.TYPE_STRING), ("quantity", kinds.TYPE_INT64), ("price", kinds.TYPE_STRING),
              ("side", kinds.TYPE_ENUM), ("note", kinds.TYPE_STRING)]
    for number, (name, kind) in enumerate(fields, 1):
        field = ours.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
        if kind == kinds.TYPE_ENUM:
            field.type_name = ".market.Side"
    side = file.enum_type.add(name="Side")
    for number, name in enumerate(["SIDE_UNKNOWN", *SIDES]):
        side.value.add(name=name, number=number)
    file.message_type.extend([ours, other] if first else [other, ours])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("market.Trade"))


def protobuf(kind, value):
    made = kind(symbol=value["symbol"], quantity=value["quantity"], price=value["price"])
    made.side = 1 + SIDES.index(value["side"])
    made.note = value["note"] or ""
    return made


def plain(value):
    """A trade as `trade` makes it, of whatever a deserializer gives."""
    if isinstance(value, dict):
        value["price"] = str(value["price"])
        return value
    return {"symbol": value.symbol, "quantity": value.quantity, "price": value.price,
            "side": SIDES[value.side - 1], "note": value.note or None}


def serializer(client, form, first):
    if form == "AVRO":
        client.register_schema("market.Side", Schema(json.dumps(AVRO_SIDE), "AVRO"))
        reference = SchemaReference("market.Side", "market.Side", 1)
        schema = Schema(json.dumps(AVRO), "AVRO", [reference])
        return AvroSerializer(client, schema, lambda value, _: {**value, "price": Decimal(value["price"])})
    if form == "JSON":
        return JSONSerializer(json.dumps(JSON), client, lambda value, _: value)
    kind = message(first)
    inner = ProtobufSerializer(kind, client, {"use.deprecated.format": False})
    return lambda value, context: inner(protobuf(kind, value), context)


def deserializer(client, form):
    if form == "AVRO":
        return AvroDeserializer(client)
    if form == "JSON":
        return JSONDeserializer(json.dumps(JSON), schema_registry_client=client)
    return ProtobufDeserializer(message(True), {"use.deprecated.format": False}, client)


def delivered(error, _):
    if error is not None:
        sys.exit(f"a trade is not delivered: {error}")


def consume(bootstrap, topic, count, read, context):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"reader.{topic}",
                         "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
    consumer.subscribe([topic])
    until = time.monotonic() + 60
    while count > 0:
        record = consumer.poll(1)
        if record is None or record.error():
            if time.monotonic() > until:
                sys.exit(f"{count} records of {topic} did not come")
            continue
        print(json.dumps(plain(read(record.value(), context))))
        count -= 1
    consumer.close()


def main(verb, bootstrap, registry, topic, form, count="1"):
    client = SchemaRegistryClient({"url": registry})
    context = SerializationContext(topic, MessageField.VALUE)
    if verb == "consume":
        consume(bootstrap, topic, int(count), deserializer(client, form), context)
        return
    write = serializer(client, form, first=verb == "register")
    if verb == "register":
        write(trade(0), context)
        return
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(int(count)):
        producer.produce(topic, key=str(number), value=write(trade(number), context), on_delivery=delivered)
        producer.poll(0)
    producer.flush()


main(*sys.argv[1:])
