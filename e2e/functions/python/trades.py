"""A function on AWS's Python client that knows nothing of schemas: what it gets is JSON.

It answers each record with its value, and with what the event says of the value's schema in
headers. A value that is no JSON is answered as it came.
"""

import base64
import json


def answer(event, _context):
    records = []
    for record in (record for batch in event["records"].values() for record in batch):
        raw = base64.b64decode(record["value"])
        headers = {f"{part}-{name}": said for part in ("key", "value")
                   for name, said in record.get(f"{part}SchemaMetadata", {}).items()}
        output = {"headers": headers}
        if record.get("key"):
            output["key"] = base64.b64decode(record["key"]).decode("latin-1")
        try:
            output["value"] = json.loads(raw)
        except ValueError:
            output["valueBase64"] = record["value"]
        records.append(output)
    return {"records": records}
